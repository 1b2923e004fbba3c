//! The engine with the connections that it speaks about.
//!
//! Every call runs to its end without waiting, so all actions of an event are carried out, in the engine's order, before
//! the next event is taken in.

use crate::sync::Ordering;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::{Connection, Outlet};
use crate::broker::engine::{Action, Engine, Event, SessionId};
use crate::link::{Descriptor, Outgoing, Received};
use crate::segment::Segment;
use crate::wire::ToBroker;

/// Shared by all tasks of the broker's thread.
pub(super) struct Hub {
    state: RefCell<State>,
    /// When the tick is due that the ticking task waits for.
    armed: Cell<Option<Duration>>,
    /// Notified when the engine wants its tick at another time.
    timeout_changed: Notify,
    started: Instant,
    frame_bytes: u32,
}

/// How far receiving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// There may be more.
    More,
    /// The socket is empty.
    Later,
    /// The connection is no more.
    Ended,
}

struct State {
    engine: Engine<Descriptor>,
    epochs: Segment,
    connections: BTreeMap<SessionId, Rc<Connection>>,
    last_session: u64,
}

impl Hub {
    pub(super) fn new(engine: Engine<Descriptor>, epochs: Segment, frame_bytes: u32) -> Self {
        let state = State {
            engine,
            epochs,
            connections: BTreeMap::new(),
            last_session: 0,
        };
        Self {
            state: RefCell::new(state),
            armed: Cell::new(None),
            timeout_changed: Notify::new(),
            started: Instant::now(),
            frame_bytes,
        }
    }

    pub(super) fn frame_bytes(&self) -> u32 {
        self.frame_bytes
    }

    /// Takes in a new connection.
    pub(super) fn connected(&self, connection: Connection) -> (SessionId, Rc<Connection>) {
        let mut state = self.state.borrow_mut();
        state.last_session += 1;
        let session = SessionId(state.last_session);
        let connection = Rc::new(connection);
        state.connections.insert(session, connection.clone());
        let event = Event::Connected {
            session,
            peer: connection.peer,
            process: connection.process(),
        };
        self.handle(&mut state, event);
        (session, connection)
    }

    /// Takes in at most `most` frames of a connection.
    pub(super) fn receive(&self, session: SessionId, most: usize) -> Reading {
        let mut state = self.state.borrow_mut();
        for _ in 0..most {
            let Some(connection) = state.connections.get(&session).cloned() else {
                return Reading::Ended;
            };
            let received = connection.link.try_recv();
            match received {
                Ok(Received::Frame(frame, descriptors)) => {
                    self.frame(&mut state, session, frame, descriptors)
                }
                Ok(Received::Later) => return Reading::Later,
                Ok(Received::Closed) => {
                    self.close(&mut state, session);
                    return Reading::Ended;
                }
                Err(error) => {
                    connection.warn(&error);
                    self.close(&mut state, session);
                    return Reading::Ended;
                }
            }
        }
        if state.connections.contains_key(&session) {
            Reading::More
        } else {
            Reading::Ended
        }
    }

    /// Ends a connection whose process has exited; what it has sent has been taken in.
    pub(super) fn closed(&self, session: SessionId) {
        self.close(&mut self.state.borrow_mut(), session);
    }

    /// Goes on sending what a socket did not take before.
    pub(super) fn resume(&self, session: SessionId) {
        let mut state = self.state.borrow_mut();
        let Some(connection) = state.connections.get(&session).cloned() else {
            return;
        };
        let progress = connection.link.flush();
        match connection.sent(progress) {
            Ok(()) => self.transmit(&mut state, session),
            Err(error) => {
                connection.warn(&error);
                self.close(&mut state, session);
            }
        }
    }

    fn frame(
        &self,
        state: &mut State,
        session: SessionId,
        frame: ToBroker,
        descriptors: Vec<OwnedFd>,
    ) {
        let descriptors = descriptors.into_iter().map(Descriptor::new).collect();
        self.handle(
            state,
            Event::Frame {
                session,
                frame,
                descriptors,
            },
        );
    }

    fn handle(&self, state: &mut State, event: Event<Descriptor>) {
        let mut actions = VecDeque::from(state.engine.handle(self.now(), event));
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Raise { epoch_index, value } => state.raise(epoch_index, value),
                Action::Flush(session) => self.transmit(state, session),
                Action::Close { session, reason } => {
                    self.transmit(state, session);
                    if let Some(connection) = state.connections.remove(&session) {
                        connection.warn(&reason);
                        connection.end();
                        actions.extend(state.engine.handle(self.now(), Event::Closed { session }));
                    }
                }
            }
        }
        if state.engine.next_timeout() != self.armed.get() {
            self.timeout_changed.notify_one();
        }
    }

    fn close(&self, state: &mut State, session: SessionId) {
        if let Some(connection) = state.connections.remove(&session) {
            connection.end();
            self.handle(state, Event::Closed { session });
        }
    }

    /// Hands the engine's frames to the socket while it takes data.
    fn transmit(&self, state: &mut State, session: SessionId) {
        let Some(connection) = state.connections.get(&session).cloned() else {
            return;
        };
        while connection.outlet() == Outlet::Open {
            let Some(outgoing) = state.engine.poll_transmit(session) else {
                return;
            };
            let outgoing = Outgoing {
                frame: outgoing.frame,
                descriptors: outgoing.descriptors,
            };
            let progress = connection.link.try_send(outgoing);
            if let Err(error) = connection.sent(progress) {
                // Actions are being carried out; the task reports the end when they are.
                connection.warn(&error);
                connection.end();
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

impl State {
    fn raise(&mut self, epoch_index: u32, value: u64) {
        let offset = epoch_index as usize * EPOCH_SPACING_BYTES;
        match self.epochs.try_word(offset) {
            // Release: a client that sees the value finds its route frame, queued before, if that fitted the socket.
            Some(word) => word.store(value, Ordering::Release),
            None => tracing::error!(
                epoch_index,
                "the engine raises a word that the segment does not have"
            ),
        }
    }
}

/// Tells the engine when the time has come that it asked for.
pub(super) async fn tick(hub: Rc<Hub>) {
    loop {
        let next = hub.state.borrow().engine.next_timeout();
        hub.armed.set(next);
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(hub.started + next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => hub.handle(&mut hub.state.borrow_mut(), Event::Tick),
            () = hub.timeout_changed.notified() => {}
        }
    }
}

/// Distance of two clients' words in the epoch segment: a cache line, so that raising one disturbs no other's polling.
pub(super) const EPOCH_SPACING_BYTES: usize = 64;
