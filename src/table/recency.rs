//! Which slot was written longest ago.

/// The slots that hold a value, in the order of their last writes: a list linked through an array.
#[derive(Debug)]
pub(super) struct Recency {
    /// One for each slot; the last one is both ends of the list.
    links: Box<[Link]>,
}

/// A slot that is not in the list points to itself.
#[derive(Clone, Copy, Debug)]
struct Link {
    older: u32,
    newer: u32,
}

impl Recency {
    /// No slot holds a value.
    pub fn new(slots: u32) -> Self {
        let links = (0..=slots).map(|slot| Link {
            older: slot,
            newer: slot,
        });
        Self {
            links: links.collect(),
        }
    }

    /// Makes `slot` the one that was written last.
    pub fn touch(&mut self, slot: u32) {
        let ends = self.ends();
        if self.links[ends as usize].older == slot {
            return;
        }
        self.remove(slot);
        let newest = self.links[ends as usize].older;
        self.links[slot as usize] = Link {
            older: newest,
            newer: ends,
        };
        self.links[newest as usize].newer = slot;
        self.links[ends as usize].older = slot;
    }

    /// Takes `slot` out.
    pub fn remove(&mut self, slot: u32) {
        let Link { older, newer } = self.links[slot as usize];
        self.links[older as usize].newer = newer;
        self.links[newer as usize].older = older;
        self.links[slot as usize] = Link {
            older: slot,
            newer: slot,
        };
    }

    /// The one that was written longest ago.
    pub fn oldest(&self) -> Option<u32> {
        let ends = self.ends();
        let oldest = self.links[ends as usize].newer;
        (oldest != ends).then_some(oldest)
    }

    /// Whether `slot` holds a value.
    pub fn contains(&self, slot: u32) -> bool {
        self.links[slot as usize].newer != slot
    }

    fn ends(&self) -> u32 {
        (self.links.len() - 1) as u32
    }
}
