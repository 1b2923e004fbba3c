//! What a relay makes of the memory of lanes, what it maps.

use std::os::fd::OwnedFd;

use crate::lane::{CursorArea, MIN_RING_BYTES, OwnMedium, Peer, PeerMedium, table};
use crate::link::Descriptor;
use crate::ring::Read;
use crate::segment::{Kind, MemoryOptions, SegmentError, SegmentHandle, SegmentOptions};
use crate::wake::BellSender;
use crate::wire::{Medium, SegmentSource, reason};

use super::MAX_RING_BYTES;
use super::packet::Sizes;
use super::sink::{Flow, Sink};
use super::source::Source;

/// A half of a lane as it goes into a frame: this process, a segment, this side's bell, the history if there is one.
pub struct Half {
    pub process: Descriptor,
    pub segment: SegmentSource,
    pub history: Option<SegmentSource>,
    /// Segment, if it has a descriptor, bell, history, if that has one.
    pub descriptors: Vec<Descriptor>,
}

/// A half of a lane as it came in a frame.
pub struct PeerHalf {
    pub segment: SegmentHandle,
    pub bell: OwnedFd,
    pub history: Option<SegmentHandle>,
}

/// A fresh sink, with what its subscriber has to map.
pub struct NewSink {
    pub sink: Sink,
    pub segment: SegmentHandle,
    pub history: Option<SegmentHandle>,
}

/// What the other host wants made here; sizes are possible ones.
pub struct SinkPlan {
    medium: Medium,
    sizes: Sizes,
    behind_history: bool,
}

impl Half {
    pub fn new(
        process: Descriptor,
        segment: SegmentHandle,
        bell: BellSender,
        history: Option<SegmentHandle>,
    ) -> Self {
        let split = |handle| match handle {
            SegmentHandle::Descriptor(descriptor) => {
                (SegmentSource::Descriptor, Some(Descriptor::new(descriptor)))
            }
            SegmentHandle::Named(name) => (SegmentSource::Named(name), None),
        };
        let (segment, first) = split(segment);
        let (history, last) = history.map(split).unzip();
        let bell = Descriptor::new(bell.into());
        let descriptors = [first, Some(bell), last.flatten()];
        Self {
            process,
            segment,
            history,
            descriptors: descriptors.into_iter().flatten().collect(),
        }
    }
}

impl PeerHalf {
    /// The half in a frame's descriptors: segment, if it has one, bell, history, if it has one; behind the process, if
    /// `Some` comes back.
    pub fn of(
        segment: SegmentSource,
        history: Option<SegmentSource>,
        mut descriptors: Vec<OwnedFd>,
    ) -> Option<(Option<Descriptor>, Self)> {
        let history = match history {
            Some(history) => Some(handle(history, &mut descriptors)?),
            None => None,
        };
        let bell = descriptors.pop()?;
        let segment = handle(segment, &mut descriptors)?;
        let process = descriptors.pop().map(Descriptor::new);
        let half = Self {
            segment,
            bell,
            history,
        };
        descriptors.is_empty().then_some((process, half))
    }
}

/// A segment of a frame, the last of these descriptors if it has one.
fn handle(source: SegmentSource, descriptors: &mut Vec<OwnedFd>) -> Option<SegmentHandle> {
    match source {
        SegmentSource::Descriptor => descriptors.pop().map(SegmentHandle::Descriptor),
        SegmentSource::Named(name) => Some(SegmentHandle::Named(name)),
    }
}

/// Maps what a publisher of this host offers; gives what the other side has to know to make the same.
///
/// # Errors
/// Why it cannot be carried over, for the publisher.
pub fn open_source(
    medium: Medium,
    half: PeerHalf,
    area: CursorArea,
) -> Result<(Source, Sizes), String> {
    let memory = open(kind_of(medium), half.segment)?;
    let history = half.history.map(|history| open(Kind::Table, history));
    let history = history.transpose()?;
    let bell = BellSender::from_peer(half.bell).map_err(|error| reason(&error))?;
    Source::new(medium, memory, history, area, Peer::new(bell))
}

fn open(kind: Kind, segment: SegmentHandle) -> Result<PeerMedium, String> {
    let memory = PeerMedium::open(kind, segment).map_err(|error| reason(&error))?;
    memory
        .settle(MemoryOptions::default())
        .map_err(|error| reason(&error))?;
    let capacity = memory.capacity();
    if capacity > MAX_RING_BYTES {
        return Err(format!(
            "its {kind:?} has {capacity} bytes, {MAX_RING_BYTES} are the most for another host: lower `max_message_bytes`"
        ));
    }
    Ok(memory)
}

impl SinkPlan {
    /// # Errors
    /// There is no such lane.
    pub fn new(medium: Medium, behind_history: bool, sizes: Sizes) -> Result<Self, String> {
        let is_possible = |bytes: u64| {
            let possible = MIN_RING_BYTES as u64..=MAX_RING_BYTES as u64;
            match bytes.is_power_of_two() && possible.contains(&bytes) {
                true => Ok(()),
                false => Err(format!(
                    "a lane of {bytes} bytes, powers of two from {MIN_RING_BYTES} to {MAX_RING_BYTES} are possible"
                )),
            }
        };
        let is_history = medium == Medium::History;
        if is_history && behind_history {
            return Err("a history behind a history".into());
        }
        if !is_history {
            is_possible(sizes.bytes)?;
        }
        if is_history || behind_history {
            is_possible(sizes.history_bytes)?;
            if !(1..=MOST_KEPT).contains(&sizes.kept) {
                return Err(format!(
                    "a history of {}, {MOST_KEPT} is the most",
                    sizes.kept
                ));
            }
        }
        Ok(Self {
            medium,
            sizes,
            behind_history,
        })
    }

    /// Bytes that it takes.
    pub fn cost(&self) -> usize {
        let Sizes {
            bytes,
            history_bytes,
            ..
        } = self.sizes;
        let (lane, history) = (bytes as usize, table_cost(history_bytes as usize));
        let lane = match self.medium {
            Medium::Ring | Medium::LossyRing => lane,
            Medium::Table => table_cost(lane),
            Medium::History => return history,
        };
        lane + if self.behind_history { history } else { 0 }
    }

    /// Makes it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn make(&self, options: &SegmentOptions) -> Result<NewSink, SegmentError> {
        let Sizes {
            news_above, kept, ..
        } = self.sizes;
        let create = |kind, bytes: u64| OwnMedium::create(kind, bytes as usize, options);
        let new_table = |bytes: u64, kept| {
            let memory = create(Kind::Table, bytes)?;
            table(memory, kept).map_err(|_| SegmentError::Shape {
                kind: Kind::Table,
                data_len: bytes,
            })
        };
        let (history_bytes, bytes) = (self.sizes.history_bytes, self.sizes.bytes);
        let history = match self.behind_history {
            true => Some(new_table(history_bytes, kept)?),
            false => None,
        };
        let (memory, flow) = match self.medium {
            Medium::Ring | Medium::LossyRing => {
                let ring = create(Kind::Ring, bytes)?;
                let flow = match self.medium {
                    Medium::Ring => Flow::ring(ring.clone(), news_above),
                    _ => Flow::lossy(ring.clone()),
                };
                (ring, flow)
            }
            Medium::Table | Medium::History => {
                let table = match self.medium {
                    Medium::Table => new_table(bytes, 1)?,
                    _ => new_table(history_bytes, kept)?,
                };
                (table.storage().clone(), Flow::Table(Box::new(table)))
            }
        };
        let segment = memory.handle()?;
        let handles = history.as_ref().map(|history| history.storage().handle());
        Ok(NewSink {
            segment,
            history: handles.transpose()?,
            sink: Sink::new(memory, flow, history, self.cost()),
        })
    }
}

/// What a table of so many bytes takes: twice as many, for its writer's account lies in the heap.
pub fn table_cost(bytes: usize) -> usize {
    2 * bytes
}

fn kind_of(medium: Medium) -> Kind {
    match medium {
        Medium::Ring | Medium::LossyRing => Kind::Ring,
        Medium::Table | Medium::History => Kind::Table,
    }
}

/// How many values of each topic a table can keep.
const MOST_KEPT: u32 = (1 << 16) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_histories_count_towards_what_a_peer_can_have_made() {
        let sizes = Sizes {
            bytes: 4096,
            history_bytes: 8192,
            kept: 3,
            ..Sizes::default()
        };
        let cost =
            |medium, behind_history| SinkPlan::new(medium, behind_history, sizes).unwrap().cost();
        assert_eq!(cost(Medium::Ring, false), 4096);
        assert_eq!(cost(Medium::LossyRing, true), 4096 + 2 * 8192);
        assert_eq!(cost(Medium::Table, false), 2 * 4096);
        assert_eq!(cost(Medium::History, false), 2 * 8192);
    }
}
