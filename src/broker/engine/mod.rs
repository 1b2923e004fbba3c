//! The broker's decisions, as a state machine without socket, clock or thread.
//!
//! A driver feeds [`Engine::handle`] with what happens, carries out the [`Action`]s in their order, then sends what
//! [`Engine::poll_transmit`] gives.
//!
//! **Subscribing is a barrier.** When a subscriber's client has its `Opened`, the route-epoch words of all clients that
//! publish to it are raised, so that their next `publish` waits for the route. That takes no answer of theirs. It rests on
//! two orders: actions come as frames to others, words, frame to the requester ([`effects`]); routes leave before
//! answers ([`transmit`]). A route that does not fit a socket stays as state ([`outbox`]); its word is raised all the same.

mod admission;
mod barrier;
mod effects;
mod estates;
mod event;
mod inheriting;
mod lanes;
mod listing;
mod live;
mod opening;
mod outbox;
mod registry;
mod routes;
mod rules;
mod sessions;
mod transmit;
mod weight;

#[cfg(test)]
mod tests;

use std::mem;
use std::time::Duration;

pub(crate) use event::{Action, CloseReason, Event, Peer, SessionId};

use crate::wire::{Limits, SegmentSource, ToBroker, ToClient};
use barrier::HeldAnswers;
use effects::Effects;
use estates::Estates;
use lanes::OfferedHalf;
use listing::ClientsCursor;
use live::LiveLists;
use opening::handle;
use outbox::{Outbox, Reply};
use registry::Registry;
use routes::Lanes;
use sessions::{Sessions, State};

/// The state of one bus. `D` is a descriptor, which the engine only passes on.
pub(crate) struct Engine<D: Clone> {
    limits: Limits,
    owner_uid: u32,
    incarnation: u128,
    epochs: SegmentSource,
    epoch_descriptor: Option<D>,
    sessions: Sessions<D>,
    registry: Registry,
    lanes: Lanes,
    /// Lanes of members of queue groups, and what is left of them.
    estates: Estates<D>,
    live: LiveLists,
    held: HeldAnswers,
    /// Of the event being handled.
    effects: Effects,
}

impl<D: Clone> Engine<D> {
    /// An empty bus of the user `owner_uid`. The epoch segment, `epochs`, has a word for each of `limits.clients`.
    pub(crate) fn new(
        limits: Limits,
        owner_uid: u32,
        incarnation: u128,
        epochs: SegmentSource,
        epoch_descriptor: Option<D>,
    ) -> Self {
        Self {
            limits,
            owner_uid,
            incarnation,
            epochs,
            epoch_descriptor,
            sessions: Sessions::new(),
            registry: Registry::new(),
            lanes: Lanes::default(),
            estates: Estates::new(),
            live: LiveLists::default(),
            held: HeldAnswers::default(),
            effects: Effects::default(),
        }
    }

    /// Takes in what happened; `now` is time since the engine's start. The actions are to be carried out in their order.
    pub(crate) fn handle(&mut self, now: Duration, event: Event<D>) -> Vec<Action> {
        let mut requester = None;
        match event {
            Event::Connected {
                session,
                peer,
                process,
            } => self.connected(session, peer, process),
            Event::Frame {
                session,
                frame,
                descriptors,
            } => {
                requester = Some(session);
                if let Err(reason) = self.frame(now, session, frame, descriptors) {
                    self.expel(session, reason);
                }
            }
            Event::Closed { session } => {
                self.closed(session);
                self.forget_held(now, session);
            }
            Event::Tick => {
                self.expire_live_lists(now);
                self.answer_held(now);
            }
        }
        mem::take(&mut self.effects).into_actions(requester)
    }

    /// When the engine wants a `Tick`, as time since its start.
    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        let deadlines = [self.live.next_deadline(), self.held.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn frame(
        &mut self,
        now: Duration,
        session: SessionId,
        frame: ToBroker,
        descriptors: Vec<D>,
    ) -> Result<(), CloseReason> {
        let Some(state) = self.sessions.session(session).map(|session| &session.state) else {
            return Ok(());
        };
        match (state, &frame) {
            (State::Closing, _) => return Ok(()),
            (State::Fresh, ToBroker::Hello { .. }) | (State::Joined(_), _) => {}
            (State::Fresh, _) => return Err(CloseReason::BeforeHello),
        }
        let (expected, got) = (descriptors_of(&frame), descriptors.len());
        if got != expected {
            return Err(CloseReason::Descriptors { expected, got });
        }
        self.count_request(session, &frame)?;
        self.carry_out(now, session, frame, descriptors)
    }

    fn carry_out(
        &mut self,
        now: Duration,
        session: SessionId,
        frame: ToBroker,
        descriptors: Vec<D>,
    ) -> Result<(), CloseReason> {
        match frame {
            ToBroker::Hello { .. } if self.sessions.client(session).is_some() => {
                return Err(CloseReason::SecondHello);
            }
            ToBroker::Hello { name } => self.hello(session, &name),
            ToBroker::OpenPublisher {
                request,
                publisher,
                spec,
            } => {
                let outcome = self.open_publisher(handle(session, publisher), spec);
                self.answer(session, request, outcome);
            }
            ToBroker::ClosePublisher { publisher } => {
                self.remove_publisher(handle(session, publisher))
            }
            ToBroker::OpenSubscriber {
                request,
                subscriber,
                spec,
            } => {
                let outcome = self.open_subscriber(handle(session, subscriber), spec);
                self.answer_when_seen(now, session, request, outcome);
            }
            ToBroker::ChangePatterns {
                request,
                subscriber,
                add,
                remove,
            } => {
                let outcome = self.change_patterns(handle(session, subscriber), &add, &remove);
                self.answer_when_seen(now, session, request, outcome);
            }
            ToBroker::CloseSubscriber { subscriber } => {
                self.remove_subscriber(handle(session, subscriber))
            }
            ToBroker::OfferLane {
                lane,
                medium,
                segment,
                history,
                courier,
                begin,
            } => {
                let half = OfferedHalf {
                    medium,
                    segment,
                    history,
                    courier,
                    begin,
                    descriptors,
                };
                return self.offer_lane(session, lane, half);
            }
            ToBroker::AcceptLane {
                lane,
                segment,
                area,
            } => {
                return self.accept_lane(session, lane, segment, area, descriptors);
            }
            ToBroker::RefuseLane { lane, reason } => {
                return self.refuse_lane(session, lane, reason);
            }
            ToBroker::Received => {
                self.sessions.acknowledge(session, &mut self.effects);
                self.effects.flush(session);
            }
            ToBroker::Ping { request } => {
                self.reply(session, Reply::Frame(ToClient::Pong { request }))
            }
            ToBroker::List {
                request,
                pattern,
                live,
            } => {
                if let Err(refusal) = self.list(now, session, request, &pattern, live) {
                    self.answer(session, request, Err(refusal));
                }
            }
            ToBroker::ListClients { request } => {
                self.reply(session, Reply::Clients(ClientsCursor::new(request)));
            }
            ToBroker::LiveTopics { query, topics } => {
                return self.live_topics(session, query, topics);
            }
            ToBroker::RoutesSeen { epoch } => return self.routes_seen(now, session, epoch),
            ToBroker::LaneClosed { lane } => return self.lane_closed(session, lane),
            ToBroker::LaneFinished { lane } => return self.lane_finished(session, lane),
        }
        Ok(())
    }

    fn reply(&mut self, session: SessionId, reply: Reply) {
        self.sessions
            .post(session, &mut self.effects, |outbox: &mut Outbox<D>| {
                outbox.replies.push_back(reply)
            });
    }

    fn count_request(&mut self, session: SessionId, frame: &ToBroker) -> Result<(), CloseReason> {
        let limit = self.limits.requests;
        let Some(session) = self
            .sessions
            .session_mut(session)
            .filter(|_| is_request(frame))
        else {
            return Ok(());
        };
        session.unanswered += 1;
        if session.unanswered > limit {
            Err(CloseReason::Requests { limit })
        } else {
            Ok(())
        }
    }
}

/// Whether a frame is to be answered.
fn is_request(frame: &ToBroker) -> bool {
    matches!(
        frame,
        ToBroker::OpenPublisher { .. }
            | ToBroker::OpenSubscriber { .. }
            | ToBroker::ChangePatterns { .. }
            | ToBroker::Ping { .. }
            | ToBroker::List { .. }
            | ToBroker::ListClients { .. }
    )
}

/// How many descriptors a frame comes with: the bell of whoever makes its half of a lane, its segment where it is one.
fn descriptors_of(frame: &ToBroker) -> usize {
    match frame {
        ToBroker::OfferLane {
            segment,
            history,
            courier,
            ..
        } => {
            let history = history.as_ref().map_or(0, SegmentSource::descriptors);
            1 + segment.descriptors() + usize::from(*courier) + history
        }
        ToBroker::AcceptLane { segment, .. } => 1 + segment.descriptors(),
        _ => 0,
    }
}
