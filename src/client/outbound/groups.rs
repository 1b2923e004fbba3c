//! Queue groups: whose turn it is among members who share the messages.
//!
//! A message goes to the member that was served least recently of those with room, whatever the topic: round robin where all
//! take the same. If none has room, the policy of the first of them decides; whoever has room first ends a wait.

use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::client::shared::{Command, Shared};
use crate::ring::Position;
use crate::wire::{LaneId, ToBroker};

use super::waiting::{Waiting, Waits};
use super::{Delivery, OutLane, Outbound, PublishError, taking};

/// What a lane has to do with a queue group.
pub(in crate::client) struct Membership {
    pub(super) queue: Arc<str>,
    /// When it was served last, as the publisher counts.
    served: u64,
    _farewell: Farewell,
}

/// Tells the broker when the lane's ring is closed: another member may read on in it, whom this side does not know.
struct Farewell {
    lane: LaneId,
    shared: Arc<Shared>,
}

/// A lane without room for the message under way.
#[derive(Clone, Copy)]
pub(super) struct Full {
    pub(super) key: usize,
    pub(super) ring: u64,
    /// Of members that could have it instead of each other: which of the topic's groups. They stand together, in turn.
    pub(super) group: Option<usize>,
}

/// Who was served when.
#[derive(Default)]
pub(super) struct Turns {
    last: u64,
    /// Members in turn, with when they were served.
    order: Vec<(u64, usize)>,
}

/// A queue group, one of whose members is waited for.
pub(super) struct WaitingGroup {
    pub(super) queue: Arc<str>,
    /// As in [`Waiting`], by the policy of the member whose turn it was.
    pub(super) deadline: Duration,
    pub(super) stalls: bool,
    /// Whether a member has the message, or has lost it.
    pub(super) settled: bool,
}

/// What has become of a group's turn.
pub(super) struct Turn {
    /// Who has the message.
    pub(super) served: Option<usize>,
    /// Whether somebody has not answered yet: the one who has it, or one of those without room.
    pub(super) unattached: bool,
}

impl Membership {
    pub(in crate::client) fn new(queue: &str, lane: LaneId, shared: Arc<Shared>) -> Self {
        Self {
            queue: queue.into(),
            served: 0,
            _farewell: Farewell { lane, shared },
        }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let lane = self.lane;
        self.shared
            .command(Command::Tell(ToBroker::LaneClosed { lane }));
    }
}

impl Full {
    pub(super) fn alone(key: usize, ring: u64) -> Self {
        Self {
            key,
            ring,
            group: None,
        }
    }
}

impl Turns {
    /// Offers a message to the members of a topic's group, in turn, until one has room, and wakes that one. If none has, they are
    /// put into `full`, in turn; that is emptied on an error. A member that has said itself that it reads no more, or is owed
    /// older messages, is passed over.
    pub(super) fn serve(
        &mut self,
        group: usize,
        members: &[usize],
        (lanes, full): (&mut Slab<OutLane>, &mut Vec<Full>),
        mut write: impl FnMut(&mut Slab<OutLane>, usize) -> Result<bool, PublishError>,
    ) -> Result<Turn, PublishError> {
        self.sort(lanes, members);
        for &(_, key) in &self.order {
            let lane = &lanes[key];
            let passed_over = lane.writer.has_closed() || lane.owed_at.is_some();
            if passed_over || !write(lanes, key).inspect_err(|_| full.clear())? {
                continue;
            }
            let lane = &mut lanes[key];
            lane.writer.wake();
            self.last += 1;
            lane.served(self.last);
            return Ok(Turn {
                served: Some(key),
                unattached: !lane.writer.is_attached(),
            });
        }
        let mut unattached = false;
        for &(_, key) in &self.order {
            let lane = &lanes[key];
            unattached |= !lane.writer.is_attached();
            full.push(Full {
                group: Some(group),
                ..Full::alone(key, lane.ring)
            });
        }
        Ok(Turn {
            served: None,
            unattached,
        })
    }

    /// A member has had its turn.
    pub(super) fn note(&mut self, lane: &mut OutLane) {
        self.last += 1;
        lane.served(self.last);
    }

    fn sort(&mut self, lanes: &Slab<OutLane>, members: &[usize]) {
        self.order.clear();
        let served = members.iter().map(|&key| (lanes[key].last_served(), key));
        self.order.extend(served);
        self.order.sort_unstable();
    }
}

impl OutLane {
    /// The same lane, of a member of a queue group.
    pub(in crate::client) fn of_member(mut self, membership: Membership) -> Self {
        self.writer.name_each();
        self.membership = Some(membership);
        self
    }

    pub(super) fn queue(&self) -> Option<&Arc<str>> {
        self.membership.as_ref().map(|membership| &membership.queue)
    }

    pub(super) fn last_served(&self) -> u64 {
        self.membership
            .as_ref()
            .map_or(0, |membership| membership.served)
    }

    fn served(&mut self, at: u64) {
        if let Some(membership) = &mut self.membership {
            membership.served = at;
        }
    }
}

/// Adds a lane that takes a topic to the others of its group.
pub(super) fn join(groups: &mut Vec<Vec<usize>>, lanes: &Slab<OutLane>, key: usize) {
    let queue = lanes[key].queue();
    let group = groups.iter_mut().find(|members| {
        members
            .first()
            .is_some_and(|&first| lanes[first].queue() == queue)
    });
    match group {
        Some(members) => members.push(key),
        None => groups.push(vec![key]),
    }
}

impl Waits {
    /// Whether the group is not waited for any more.
    pub(super) fn is_settled(&self, group: Option<usize>) -> bool {
        group.is_some_and(|group| self.groups[group].settled)
    }

    pub(super) fn settle(&mut self, group: Option<usize>) {
        if let Some(group) = group {
            self.groups[group].settled = true;
        }
    }
}

/// Remembers the members of a group none of which has room, if the one whose turn it is would have to be waited for.
pub(super) fn check_room_of_group(
    waits: &mut Waits,
    lanes: &mut Slab<OutLane>,
    members: &[usize],
    len: usize,
) {
    let mut has_room = |&key: &usize| lanes[key].is_free_for(len);
    if members.iter().any(&mut has_room) {
        return;
    }
    let first = members.iter().min_by_key(|&&key| lanes[key].last_served());
    let Some(deadline) = first.and_then(|&key| lanes[key].deadline()) else {
        return;
    };
    for &key in members {
        let lane = &mut lanes[key];
        waits.lanes.push(Waiting {
            key,
            ring: lane.ring,
            deadline,
            stalls: false,
            seen: lane.writer.reader_position(),
            group: None,
            pins: None,
        });
    }
}

impl Outbound {
    /// Does with the groups in `full` what [`Outbound::triage_group`] does with each.
    pub(super) fn triage_groups(
        &mut self,
        full: &[Full],
        answered: bool,
        longest: Duration,
        messages: u64,
        delivery: &mut Delivery,
    ) {
        for members in full.chunk_by(|a, b| a.group == b.group) {
            if members.first().is_some_and(|first| first.group.is_some()) {
                self.triage_group(members, answered, longest, messages, delivery);
            }
        }
    }

    /// Does with a group without room what the policy says of the member whose turn it is, but for waiting.
    fn triage_group(
        &mut self,
        members: &[Full],
        answered: bool,
        longest: Duration,
        messages: u64,
        delivery: &mut Delivery,
    ) {
        for member in members {
            if self.lanes[member.key].writer.has_closed() {
                self.part_from_closed_of(member.key);
            }
        }
        let stays = |member: &&Full| self.lanes.contains(member.key);
        let members: Vec<Full> = members.iter().filter(stays).copied().collect();
        let Some(first) = members.first() else {
            return;
        };
        let untold = |member: &Full| !self.lanes[member.key].writer.is_attached();
        let answered = answered && members.iter().any(untold);
        let lane = &mut self.lanes[first.key];
        let asked = lane.deadline();
        if asked.is_none() && !answered {
            self.turns.note(lane);
            delivery.dropped += self.drop_now(first.key, messages);
            return;
        }
        let asked = asked.unwrap_or(Duration::ZERO);
        let group = self.waits.groups.len();
        self.waits
            .groups
            .extend(lane.queue().map(|queue| WaitingGroup {
                queue: queue.clone(),
                deadline: asked.min(longest),
                stalls: asked <= longest,
                settled: false,
            }));
        for member in members {
            self.wait_for_member(group, member.key);
        }
        self.waits.routes = self.routes.version;
    }

    /// Members that have come since take part in the wait, and their group has not ended with the last of the others.
    pub(super) fn take_in_members(&mut self) {
        if self.waits.groups.is_empty() || self.waits.routes == self.routes.version {
            return;
        }
        self.waits.routes = self.routes.version;
        let topic = self.waits.topic();
        let slot = self
            .topics
            .slot(topic, self.routes.version, taking(&self.lanes));
        for members in slot.groups.clone() {
            let queue = members.first().and_then(|&first| self.lanes[first].queue());
            let waits = |group: &WaitingGroup| !group.settled && Some(&group.queue) == queue;
            if let Some(group) = self.waits.groups.iter().position(waits) {
                for key in members {
                    let ring = self.lanes[key].ring;
                    if !self.waits.lanes.iter().any(|waiting| waiting.ring == ring) {
                        self.wait_for_member(group, key);
                    }
                }
            }
        }
    }

    /// The groups whose time is over: the member whose turn it was loses the message, and none is waited for again that was
    /// waited for as long as it asks.
    pub(super) fn expire_groups(&mut self, lanes: &mut Vec<Waiting>, waited: Duration) {
        let mut losers = Vec::new();
        for (group, state) in self.waits.groups.iter_mut().enumerate() {
            if state.settled || waited < state.deadline {
                continue;
            }
            for waiting in lanes.iter().filter(|waiting| waiting.group == Some(group)) {
                let Some(lane) = waiting.lane(&mut self.lanes) else {
                    continue;
                };
                lane.writer.count(|lane| lane.blocked(waited));
                let asked = lane.deadline();
                if state.stalls && asked.is_some_and(|asked| asked <= waited) {
                    lane.stalled_at = Some(lane.writer.reader_position());
                    lane.writer.count(|lane| lane.stalled());
                }
                if !state.settled {
                    state.settled = true;
                    self.turns.note(lane);
                    self.waits.delivery.dropped += 1;
                    losers.push(waiting.key);
                }
            }
        }
        for key in losers {
            self.drop_now(key, self.waits.used as u64);
        }
        lanes.retain(|waiting| {
            let waits = !self.waits.is_settled(waiting.group);
            if !waits && let Some(lane) = waiting.lane(&mut self.lanes) {
                lane.retire();
            }
            waits
        });
    }

    fn wait_for_member(&mut self, group: usize, key: usize) {
        let WaitingGroup {
            deadline, stalls, ..
        } = self.waits.groups[group];
        self.waits.lanes.push(Waiting {
            key,
            ring: self.lanes[key].ring,
            deadline,
            stalls,
            seen: Position(0),
            group: Some(group),
            pins: None,
        });
    }
}
