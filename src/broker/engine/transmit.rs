//! What leaves next.

use super::Engine;
use super::event::{Outgoing, SessionId};
use super::outbox::{LaneHead, Reply};
use super::registry::Subscriber;
use super::{listing, weight};
use crate::wire::{LaneId, Route, ToClient};

impl<D: Clone> Engine<D> {
    /// The next frame for a session. To be called only while its socket takes data: what is not asked for stays coalesced.
    ///
    /// Routes come before answers, so that an `Opened` finds its client with all routes that were there before it.
    pub(crate) fn poll_transmit(&mut self, session: SessionId) -> Option<Outgoing<D>> {
        let welcome = self.sessions.session_mut(session)?.outbox.welcome.take();
        if welcome.is_some() {
            return welcome;
        }
        let plain = self
            .next_routes(session)
            .or_else(|| self.next_reply(session))
            .or_else(|| self.next_query(session));
        match plain {
            Some(frame) => Some(Outgoing {
                frame,
                descriptors: Vec::new(),
            }),
            None => self.next_lane_news(session),
        }
    }

    fn next_routes(&mut self, session: SessionId) -> Option<ToClient> {
        let room = weight::room(&self.limits);
        let (lanes, registry) = (&self.lanes, &self.registry);
        let route = |id: LaneId| -> Option<(Route, usize)> {
            let subscriber = lanes
                .lane(id)
                .and_then(|lane| registry.subscriber(lane.subscriber));
            Some((
                lanes.route(id, registry)?,
                subscriber.map_or(0, Subscriber::weight),
            ))
        };
        self.sessions
            .session_mut(session)?
            .outbox
            .next_routes(room, route)
    }

    fn next_reply(&mut self, session: SessionId) -> Option<ToClient> {
        let room = weight::room(&self.limits);
        let reply = self
            .sessions
            .session_mut(session)?
            .outbox
            .replies
            .pop_front()?;
        let (frame, rest) = match reply {
            Reply::Frame(frame) => (frame, None),
            Reply::Listing(cursor) => {
                let (frame, rest) = cursor.part(&self.registry, &self.lanes, room);
                (frame, rest.map(Reply::Listing))
            }
            Reply::Clients(cursor) => {
                let (frame, rest): (_, Option<listing::ClientsCursor>) =
                    cursor.part(&self.sessions, &self.registry, &self.lanes, room);
                (frame, rest.map(Reply::Clients))
            }
        };
        let session = self.sessions.session_mut(session)?;
        match rest {
            Some(rest) => session.outbox.replies.push_front(rest),
            // Saturating: the refusal of a `Hello` answers no request.
            None => session.unanswered = session.unanswered.saturating_sub(1),
        }
        Some(frame)
    }

    fn next_query(&mut self, session: SessionId) -> Option<ToClient> {
        let (query, (publisher, pattern)) = self
            .sessions
            .session_mut(session)?
            .outbox
            .queries
            .pop_first()?;
        Some(ToClient::QueryTopics {
            query,
            publisher,
            pattern: pattern.to_string(),
        })
    }

    fn next_lane_news(&mut self, session: SessionId) -> Option<Outgoing<D>> {
        let head = self.sessions.session(session)?.outbox.lane_head();
        let may_leave = match head {
            LaneHead::Nothing => false,
            LaneHead::Plain => true,
            LaneHead::Descriptors => self.sessions.take_budget(session),
        };
        let session = self.sessions.session_mut(session).filter(|_| may_leave)?;
        session.outbox.next_lane_news()
    }
}
