//! Which lanes take what, and whether what was found out about that still holds.

use slab::Slab;

use crate::topic::Topic;

use super::{OutLane, groups};

/// Whether what was found out about the lanes still holds.
pub(super) struct Routes {
    /// Counts the changes of the lanes.
    pub(super) version: u64,
    /// The same while nothing else is to be looked at: nobody is waited for, messages are not stamped. Else the version of
    /// nothing.
    pub(super) calm: u64,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            version: 1,
            calm: u64::MAX,
        }
    }
}

impl Routes {
    pub(super) fn changed(&mut self) {
        self.version += 1;
        self.disturb();
    }

    pub(super) fn disturb(&mut self) {
        self.calm = u64::MAX;
    }

    pub(super) fn calm_down(&mut self) {
        self.calm = self.version;
    }
}

/// Finds the lanes that take a topic, and the groups of those that share it.
pub(super) fn taking(
    lanes: &Slab<OutLane>,
) -> impl FnOnce(&Topic, &mut Vec<usize>, &mut Vec<Vec<usize>>) -> u32 {
    |topic, keys, groups| {
        let mut readers = 0;
        for (key, lane) in lanes.iter().filter(|(_, lane)| lane.takes(topic)) {
            match lane.queue() {
                None => {
                    keys.push(key);
                    readers += lane.readers();
                }
                Some(_) => groups::join(groups, lanes, key),
            }
        }
        readers
    }
}
