//! Answers that wait for publishers on other hosts.
//!
//! A client of this host has a route-epoch word, so whoever subscribes need not wait for it. One on another host has none:
//! it says by a frame that it knows of the routes. Until then the answer to the subscription is held, for a while at most.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use super::event::{CloseReason, SessionId};
use crate::wire::{Refusal, RequestId};

/// The answers that are held.
#[derive(Default)]
pub(super) struct HeldAnswers(Vec<Held>);

struct Held {
    session: SessionId,
    request: RequestId,
    /// What it says.
    lanes: u32,
    /// Who has not seen which epoch yet.
    unseen: BTreeMap<SessionId, u64>,
    /// On the engine's clock.
    deadline: Duration,
}

impl HeldAnswers {
    /// When the first answer is not held any longer.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.0.iter().map(|held| held.deadline).min()
    }

    /// Takes out those that nothing holds any more.
    fn take_free(&mut self, now: Duration) -> Vec<(SessionId, RequestId, u32)> {
        let free = |held: &mut Held| {
            if !held.unseen.is_empty() && held.deadline <= now {
                let publishers: Vec<_> = held.unseen.keys().map(|session| session.0).collect();
                tracing::warn!(
                    ?publishers,
                    "clients on other hosts do not confirm a new subscription: it may miss messages of theirs"
                );
            }
            held.unseen.is_empty() || held.deadline <= now
        };
        let free = self.0.extract_if(.., free);
        free.map(|held| (held.session, held.request, held.lanes))
            .collect()
    }
}

impl<D: Clone> Engine<D> {
    /// Answers a request that has changed routes, at once or when all other hosts concerned know of it.
    pub(super) fn answer_when_seen(
        &mut self,
        now: Duration,
        session: SessionId,
        request: RequestId,
        outcome: Result<u32, Refusal>,
    ) {
        let unseen = self.effects.take_unseen();
        let lanes = match outcome {
            Ok(lanes) if !unseen.is_empty() => lanes,
            outcome => return self.answer(session, request, outcome),
        };
        self.held.0.push(Held {
            session,
            request,
            lanes,
            unseen,
            deadline: now + PATIENCE,
        });
    }

    pub(super) fn routes_seen(
        &mut self,
        now: Duration,
        session: SessionId,
        epoch: u64,
    ) -> Result<(), CloseReason> {
        let remote = self
            .sessions
            .session(session)
            .is_some_and(|session| session.peer.remote.is_some());
        if !remote {
            return Err(CloseReason::NotRemote);
        }
        for held in &mut self.held.0 {
            if held
                .unseen
                .get(&session)
                .is_some_and(|waited| *waited <= epoch)
            {
                held.unseen.remove(&session);
            }
        }
        self.answer_held(now);
        Ok(())
    }

    /// A session has ended: nobody waits for it, and it waits for nobody.
    pub(super) fn forget_held(&mut self, now: Duration, session: SessionId) {
        self.held.0.retain(|held| held.session != session);
        for held in &mut self.held.0 {
            held.unseen.remove(&session);
        }
        self.answer_held(now);
    }

    pub(super) fn answer_held(&mut self, now: Duration) {
        for (session, request, lanes) in self.held.take_free(now) {
            self.answer(session, request, Ok(lanes));
        }
    }
}

/// As long as a publisher waits for routes that it knows to have changed.
const PATIENCE: Duration = Duration::from_secs(1);
