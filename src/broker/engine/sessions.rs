//! The connections, with what each is still to be told.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use slab::Slab;

use super::effects::Effects;
use super::event::{Peer, SessionId};
use super::outbox::Outbox;
use super::registry::Owner;

/// One connection.
pub(super) struct Session<D> {
    pub(super) peer: Peer,
    pub(super) process: D,
    pub(super) state: State,
    pub(super) outbox: Outbox<D>,
    /// Requests whose answer has not been transmitted.
    pub(super) unanswered: u32,
}

/// How far a connection has come.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// No `Hello` yet.
    Fresh,
    /// A client.
    Joined(Client),
    /// Not a client any more, or never; the driver has been told to close it.
    Closing,
}

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) owner: Owner,
    /// Its word in the route-epoch segment.
    pub(super) epoch_index: u32,
}

/// All connections.
pub(super) struct Sessions<D> {
    sessions: BTreeMap<SessionId, Session<D>>,
    last_client: u64,
    /// The words of the epoch segment that are in use.
    epochs: Slab<()>,
    /// Frames with descriptors that their clients have not confirmed, of all sessions together.
    in_flight: usize,
    /// Sessions that found the budget used up.
    waiting: BTreeSet<SessionId>,
}

impl<D> Sessions<D> {
    pub(super) fn new() -> Self {
        Self {
            sessions: BTreeMap::new(),
            last_client: 0,
            epochs: Slab::new(),
            in_flight: 0,
            waiting: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn clients(&self) -> usize {
        self.epochs.len()
    }

    pub(super) fn session(&self, id: SessionId) -> Option<&Session<D>> {
        self.sessions.get(&id)
    }

    pub(super) fn session_mut(&mut self, id: SessionId) -> Option<&mut Session<D>> {
        self.sessions.get_mut(&id)
    }

    /// The client of a session that is joined.
    pub(super) fn client(&self, id: SessionId) -> Option<&Client> {
        match &self.sessions.get(&id)?.state {
            State::Joined(client) => Some(client),
            State::Fresh | State::Closing => None,
        }
    }

    /// Clients from `first` on.
    pub(super) fn clients_from(
        &self,
        first: SessionId,
    ) -> impl Iterator<Item = (SessionId, &Client, Peer)> {
        self.sessions
            .range(first..)
            .filter_map(|(&id, session)| match &session.state {
                State::Joined(client) => Some((id, client, session.peer)),
                State::Fresh | State::Closing => None,
            })
    }

    pub(super) fn connect(&mut self, id: SessionId, peer: Peer, process: D) {
        let session = Session {
            peer,
            process,
            state: State::Fresh,
            outbox: Outbox::new(),
            unanswered: 0,
        };
        self.sessions.entry(id).or_insert(session);
    }

    /// Makes a fresh connection a client.
    pub(super) fn join(&mut self, id: SessionId, name: &str) -> Option<Client> {
        let session = self.sessions.get_mut(&id)?;
        self.last_client += 1;
        let epoch_index = self.epochs.insert(()) as u32;
        let owner = Owner {
            client: self.last_client,
            name: Arc::from(name),
            is_far: session.peer.remote.is_some(),
        };
        let client = Client { owner, epoch_index };
        session.state = State::Joined(client.clone());
        Some(client)
    }

    /// Nothing but what is queued reaches the session from now on; whether it was a client.
    pub(super) fn leave(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else {
            return false;
        };
        match mem::replace(&mut session.state, State::Closing) {
            State::Joined(client) => {
                self.epochs.remove(client.epoch_index as usize);
                true
            }
            State::Fresh | State::Closing => false,
        }
    }

    /// Forgets a session; what it had in flight is so no longer.
    pub(super) fn remove(&mut self, id: SessionId, effects: &mut Effects) {
        self.waiting.remove(&id);
        self.acknowledge(id, effects);
        self.sessions.remove(&id);
    }

    /// Lets `queue` add to what a client is to be told. Nothing happens if it is no client.
    pub(super) fn post<R>(
        &mut self,
        id: SessionId,
        effects: &mut Effects,
        queue: impl FnOnce(&mut Outbox<D>) -> R,
    ) -> Option<R> {
        let session = self
            .sessions
            .get_mut(&id)
            .filter(|session| matches!(session.state, State::Joined(_)))?;
        effects.flush(id);
        Some(queue(&mut session.outbox))
    }

    /// Like `post`, for changes of routes: a `publish` that begins after the event has to know of them.
    pub(super) fn reroute(
        &mut self,
        id: SessionId,
        effects: &mut Effects,
        queue: impl FnOnce(&mut Outbox<D>),
    ) {
        let Some(epoch_index) = self.client(id).map(|client| client.epoch_index) else {
            return;
        };
        let first = effects.reroute(id);
        let epoch = self.post(id, effects, |outbox| {
            queue(outbox);
            outbox.epoch += u64::from(first);
            outbox.epoch
        });
        let epoch = epoch.unwrap_or_default();
        effects.raise(epoch_index, epoch);
        if self
            .session(id)
            .is_some_and(|session| session.peer.remote.is_some())
        {
            effects.await_seen(id, epoch);
        }
    }

    /// Whether another frame with descriptors may leave; if not, the session is told when one may.
    pub(super) fn take_budget(&mut self, id: SessionId) -> bool {
        if self.in_flight < DESCRIPTOR_FRAMES {
            self.in_flight += 1;
            return true;
        }
        self.waiting.insert(id);
        false
    }

    /// The client has the descriptors of the last frame that carried some.
    pub(super) fn acknowledge(&mut self, id: SessionId, effects: &mut Effects) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if mem::take(&mut session.outbox.unacknowledged) {
            self.in_flight -= 1;
            // All of them: one whose socket is full would keep the place from the others.
            mem::take(&mut self.waiting)
                .into_iter()
                .for_each(|waiting| effects.flush(waiting));
        }
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }
}

/// Frames with descriptors that may be on their way to all clients together; each carries four at most. The kernel counts
/// descriptors in flight by sending user, against RLIMIT_NOFILE.
pub(super) const DESCRIPTOR_FRAMES: usize = 64;
