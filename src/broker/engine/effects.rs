//! The actions of one event, put in the order that makes a subscription a barrier.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Action, CloseReason, SessionId};

/// Collects while an event is handled.
#[derive(Default)]
pub(super) struct Effects {
    flush: BTreeSet<SessionId>,
    rerouted: BTreeSet<SessionId>,
    raise: BTreeMap<u32, u64>,
    /// Clients on other hosts whose routes change, with the epoch that says so.
    unseen: BTreeMap<SessionId, u64>,
    close: Vec<(SessionId, CloseReason)>,
}

impl Effects {
    pub(super) fn flush(&mut self, session: SessionId) {
        self.flush.insert(session);
    }

    /// Notes that the routes of `session` change; whether it is the first time in this event.
    pub(super) fn reroute(&mut self, session: SessionId) -> bool {
        self.rerouted.insert(session)
    }

    pub(super) fn raise(&mut self, epoch_index: u32, value: u64) {
        self.raise.insert(epoch_index, value);
    }

    /// Notes that a client on another host is to confirm an epoch.
    pub(super) fn await_seen(&mut self, session: SessionId, epoch: u64) {
        self.unseen.insert(session, epoch);
    }

    /// Those who are to confirm what this event has changed so far.
    pub(super) fn take_unseen(&mut self) -> BTreeMap<SessionId, u64> {
        std::mem::take(&mut self.unseen)
    }

    pub(super) fn close(&mut self, session: SessionId, reason: CloseReason) {
        self.close.push((session, reason));
    }

    /// Others' frames first, so that a raised word seldom finds its client without the routes; then the words; only then
    /// the answer, because whoever has it may rely on the words.
    pub(super) fn into_actions(mut self, requester: Option<SessionId>) -> Vec<Action> {
        for (session, _) in &self.close {
            self.flush.remove(session);
        }
        let answer = requester.filter(|session| self.flush.remove(session));
        let others = self.flush.into_iter().map(Action::Flush);
        let raises = self
            .raise
            .into_iter()
            .map(|(epoch_index, value)| Action::Raise { epoch_index, value });
        let closes = self
            .close
            .into_iter()
            .map(|(session, reason)| Action::Close { session, reason });
        others
            .chain(raises)
            .chain(answer.map(Action::Flush))
            .chain(closes)
            .collect()
    }
}
