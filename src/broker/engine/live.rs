//! Asking publishers for the topics that they use, on behalf of those who list.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Engine;
use super::event::{CloseReason, SessionId};
use super::listing::ListingCursor;
use super::outbox::{Outbox, Reply};
use super::registry::Handle;
use super::weight;
use crate::topic::{Pattern, Topic};
use crate::wire::{LimitKind, Refusal, RequestId};

/// The lists that wait for publishers: at most one for each session.
#[derive(Default)]
pub(super) struct LiveLists {
    last_query: u64,
    lists: BTreeMap<SessionId, LiveList>,
    queries: BTreeMap<u64, Query>,
}

struct LiveList {
    request: RequestId,
    pattern: Pattern,
    /// On the engine's clock.
    deadline: Duration,
    /// Queries without an answer.
    open: usize,
    live: BTreeMap<Handle, Vec<String>>,
}

#[derive(Clone, Copy)]
struct Query {
    asker: SessionId,
    publisher: Handle,
}

impl LiveLists {
    /// When the first list stops to wait.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.lists.values().map(|list| list.deadline).min()
    }

    fn queries_of(&self, asker: SessionId) -> Vec<(u64, Handle)> {
        let of_asker = self
            .queries
            .iter()
            .filter(|(_, query)| query.asker == asker);
        of_asker.map(|(&id, query)| (id, query.publisher)).collect()
    }
}

impl<D: Clone> Engine<D> {
    pub(super) fn list(
        &mut self,
        now: Duration,
        session: SessionId,
        request: RequestId,
        pattern: &str,
        live: bool,
    ) -> Result<(), Refusal> {
        let pattern =
            Pattern::try_from(pattern).map_err(|error| Refusal::Name(error.to_string()))?;
        if live {
            return self.list_live(now, session, request, pattern);
        }
        self.send_list(
            session,
            ListingCursor::new(request, pattern, BTreeMap::new()),
        );
        Ok(())
    }

    fn list_live(
        &mut self,
        now: Duration,
        session: SessionId,
        request: RequestId,
        pattern: Pattern,
    ) -> Result<(), Refusal> {
        let waiting = usize::from(self.live.lists.contains_key(&session));
        weight::within(LimitKind::LiveLists, waiting + 1, 1)?;
        let publishers = self
            .registry
            .publishers_meeting(std::slice::from_ref(&pattern));
        let list = LiveList {
            request,
            pattern: pattern.clone(),
            deadline: now + PATIENCE,
            open: publishers.len(),
            live: BTreeMap::new(),
        };
        self.live.lists.insert(session, list);
        for publisher in publishers {
            self.live.last_query += 1;
            let query = self.live.last_query;
            self.live.queries.insert(
                query,
                Query {
                    asker: session,
                    publisher,
                },
            );
            let queue = |outbox: &mut Outbox<D>| {
                outbox
                    .queries
                    .insert(query, (publisher.id, pattern.clone()))
            };
            self.sessions
                .post(publisher.session, &mut self.effects, queue);
        }
        self.finish_if_answered(session);
        Ok(())
    }

    pub(super) fn live_topics(
        &mut self,
        session: SessionId,
        query: u64,
        topics: Vec<String>,
    ) -> Result<(), CloseReason> {
        // It may have been too late.
        let Some(&Query { asker, publisher }) = self.live.queries.get(&query) else {
            return Ok(());
        };
        if publisher.session != session {
            return Err(CloseReason::ForeignQuery(query));
        }
        if let (Some(list), Some(open)) = (
            self.live.lists.get_mut(&asker),
            self.registry.publisher(publisher),
        ) {
            // Names go to people's terminals: only such as this publisher may use.
            let usable = |text: &String| {
                let topic = Topic::try_from(text.as_str());
                topic.is_ok_and(|topic| {
                    topic.is_concrete()
                        && open.topic.includes(&topic)
                        && list.pattern.includes(&topic)
                })
            };
            let most = self.limits.listed_topics as usize;
            list.live.insert(
                publisher,
                topics.into_iter().take(most).filter(usable).collect(),
            );
        }
        self.settle_query(query);
        Ok(())
    }

    /// The publisher is gone; nobody waits for it.
    pub(super) fn forget_queries_to(&mut self, publisher: Handle) {
        let asked = self
            .live
            .queries
            .iter()
            .filter(|(_, query)| query.publisher == publisher);
        let asked: Vec<_> = asked.map(|(&id, _)| id).collect();
        asked.into_iter().for_each(|query| self.settle_query(query));
    }

    /// Answers the lists that have waited for long enough.
    pub(super) fn expire_live_lists(&mut self, now: Duration) {
        let expired = self
            .live
            .lists
            .iter()
            .filter(|(_, list)| list.deadline <= now);
        let expired: Vec<_> = expired.map(|(&session, _)| session).collect();
        expired.into_iter().for_each(|session| self.finish(session));
    }

    /// The asker is gone.
    pub(super) fn drop_live_list(&mut self, asker: SessionId) {
        for (query, publisher) in self.live.queries_of(asker) {
            self.withdraw(query, publisher);
        }
        self.live.lists.remove(&asker);
    }

    fn settle_query(&mut self, query: u64) {
        let Some(&Query { asker, publisher }) = self.live.queries.get(&query) else {
            return;
        };
        self.withdraw(query, publisher);
        if let Some(list) = self.live.lists.get_mut(&asker) {
            list.open -= 1;
        }
        self.finish_if_answered(asker);
    }

    fn finish_if_answered(&mut self, asker: SessionId) {
        if self
            .live
            .lists
            .get(&asker)
            .is_some_and(|list| list.open == 0)
        {
            self.finish(asker);
        }
    }

    fn finish(&mut self, asker: SessionId) {
        for (query, publisher) in self.live.queries_of(asker) {
            self.withdraw(query, publisher);
        }
        if let Some(list) = self.live.lists.remove(&asker) {
            self.send_list(
                asker,
                ListingCursor::new(list.request, list.pattern, list.live),
            );
        }
    }

    /// Also takes the query out of the queue of a client that has not read it: it must not pile up there.
    fn withdraw(&mut self, query: u64, publisher: Handle) {
        self.live.queries.remove(&query);
        if let Some(session) = self.sessions.session_mut(publisher.session) {
            session.outbox.queries.remove(&query);
        }
    }

    fn send_list(&mut self, session: SessionId, cursor: ListingCursor) {
        let queue = |outbox: &mut Outbox<D>| outbox.replies.push_back(Reply::Listing(cursor));
        self.sessions.post(session, &mut self.effects, queue);
    }
}

/// How long a list waits for publishers: a stopped one must not hold up who looks for it.
const PATIENCE: Duration = Duration::from_millis(500);
