//! What one session is still to be told.
//!
//! Routes are kept as state, not as a log: however slow the client, there is one entry for each lane that it has to learn
//! about. Descriptors leave one frame at a time, because those in flight count against a limit of the kernel's that all
//! clients of one user share.

use std::collections::{BTreeMap, VecDeque};

use super::event::Outgoing;
use super::listing::{ClientsCursor, ListingCursor};
use crate::topic::Pattern;
use crate::wire::{HandleId, LaneId, Route, RouteChange, ToClient};

/// The queues of a session, in the order in which they are served.
pub(super) struct Outbox<D> {
    /// Comes before everything else.
    pub(super) welcome: Option<Outgoing<D>>,
    routes: BTreeMap<(HandleId, LaneId), Pending>,
    /// Value of the session's route-epoch word.
    pub(super) epoch: u64,
    /// The value that the last transmitted frame brought the client to.
    sent_epoch: u64,
    pub(super) replies: VecDeque<Reply>,
    /// By query.
    pub(super) queries: BTreeMap<u64, (HandleId, Pattern)>,
    lanes: VecDeque<LaneNews<D>>,
    /// Entries of `lanes` that are `LaneEnded`.
    ended: usize,
    /// Whether the client has still to say `Received`.
    pub(super) unacknowledged: bool,
}

/// What the client does not know of a lane yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pending {
    /// The lane.
    New,
    /// The patterns.
    Changed,
    /// The end.
    Removed,
}

/// An answer, in one frame or in parts made when they are sent.
#[derive(Debug)]
pub(super) enum Reply {
    Frame(ToClient),
    Listing(ListingCursor),
    Clients(ClientsCursor),
}

/// What a queued frame says of its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Offered,
    Accepted,
    Ended,
}

struct LaneNews<D> {
    lane: LaneId,
    news: News,
    outgoing: Outgoing<D>,
}

/// What stands at the head of the queue of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneHead {
    Nothing,
    /// No descriptors.
    Plain,
    /// Descriptors, and the client has received all earlier ones.
    Descriptors,
}

impl<D> Outbox<D> {
    pub(super) fn new() -> Self {
        Self {
            welcome: None,
            routes: BTreeMap::new(),
            epoch: 0,
            sent_epoch: 0,
            replies: VecDeque::new(),
            queries: BTreeMap::new(),
            lanes: VecDeque::new(),
            ended: 0,
            unacknowledged: false,
        }
    }

    /// Drops all that is queued.
    pub(super) fn clear(&mut self) {
        *self = Self {
            unacknowledged: self.unacknowledged,
            ..Self::new()
        };
        self.sent_epoch = self.epoch;
    }

    pub(super) fn reply(&mut self, frame: ToClient) {
        self.replies.push_back(Reply::Frame(frame));
    }

    pub(super) fn route_new(&mut self, publisher: HandleId, lane: LaneId) {
        self.routes.insert((publisher, lane), Pending::New);
    }

    pub(super) fn route_changed(&mut self, publisher: HandleId, lane: LaneId) {
        self.routes
            .entry((publisher, lane))
            .or_insert(Pending::Changed);
    }

    /// Whether the client had been told of the route.
    pub(super) fn route_removed(&mut self, publisher: HandleId, lane: LaneId) -> bool {
        let is_new = self.routes.insert((publisher, lane), Pending::Removed) == Some(Pending::New);
        if is_new {
            self.routes.remove(&(publisher, lane));
        }
        !is_new
    }

    /// The client itself has closed the publisher.
    pub(super) fn routes_forgotten(&mut self, publisher: HandleId) {
        self.routes.retain(|&(of, _), _| of != publisher);
    }

    /// The client itself has ended the lane.
    pub(super) fn route_forgotten(&mut self, publisher: HandleId, lane: LaneId) {
        self.routes.remove(&(publisher, lane));
    }

    pub(super) fn lane_news(&mut self, lane: LaneId, news: News, outgoing: Outgoing<D>) {
        self.lanes.push_back(LaneNews {
            lane,
            news,
            outgoing,
        });
    }

    /// Queues `frame`, the news of a lane's end.
    pub(super) fn lane_ended(&mut self, lane: LaneId, frame: ToClient) {
        self.ended += 1;
        let outgoing = Outgoing {
            frame,
            descriptors: Vec::new(),
        };
        self.lane_news(lane, News::Ended, outgoing);
    }

    /// Drops what is queued, so that nobody learns it any more; whether it was queued.
    pub(super) fn lane_forgotten(&mut self, lane: LaneId, news: News) -> bool {
        let before = self.lanes.len();
        self.lanes
            .retain(|queued| (queued.lane, queued.news) != (lane, news));
        self.lanes.len() != before
    }

    /// Ended lanes that the client still has to be told about.
    pub(super) fn ended(&self) -> usize {
        self.ended
    }

    /// Takes as many route changes as fit `room` bytes; `route` builds one, with an upper bound of its encoded size.
    pub(super) fn next_routes(
        &mut self,
        room: usize,
        route: impl Fn(LaneId) -> Option<(Route, usize)>,
    ) -> Option<ToClient> {
        if self.routes.is_empty() && self.epoch == self.sent_epoch {
            return None;
        }
        let mut changes = Vec::new();
        let mut used = 0;
        while let Some(entry) = self.routes.first_entry() {
            let (publisher, lane) = *entry.key();
            let (change, bytes) = match entry.get() {
                Pending::Removed => (
                    Some(RouteChange::Remove { publisher, lane }),
                    super::weight::REMOVE,
                ),
                // A lane that is gone has no entry but `Removed`; should one be left, it is of no use.
                Pending::New | Pending::Changed => route(lane)
                    .map_or((None, 0), |(route, bytes)| {
                        (Some(RouteChange::Set(route)), bytes)
                    }),
            };
            if used + bytes > room && !changes.is_empty() {
                return Some(ToClient::Routes {
                    epoch: self.sent_epoch,
                    changes,
                });
            }
            used += bytes;
            changes.extend(change);
            entry.remove();
        }
        self.sent_epoch = self.epoch;
        Some(ToClient::Routes {
            epoch: self.epoch,
            changes,
        })
    }

    pub(super) fn lane_head(&self) -> LaneHead {
        match self.lanes.front() {
            Some(news) if news.outgoing.descriptors.is_empty() => LaneHead::Plain,
            Some(_) if !self.unacknowledged => LaneHead::Descriptors,
            _ => LaneHead::Nothing,
        }
    }

    pub(super) fn next_lane_news(&mut self) -> Option<Outgoing<D>> {
        let news = self.lanes.pop_front()?;
        if news.news == News::Ended {
            self.ended -= 1;
        }
        if !news.outgoing.descriptors.is_empty() {
            self.unacknowledged = true;
        }
        Some(news.outgoing)
    }

    /// Entries of all queues.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.routes.len() + self.replies.len() + self.queries.len() + self.lanes.len()
    }
}
