//! Lists, with or without live topics.

use super::*;
use crate::wire::{LimitKind, Listing};

fn list(bus: &mut Bus, session: SessionId, request: u64, pattern: &str, live: bool) -> Vec<Action> {
    bus.send(
        session,
        ToBroker::List {
            request,
            pattern: pattern.into(),
            live,
        },
    )
}

fn listed(frames: &[ToClient]) -> Listing {
    let mut whole = Listing::default();
    for (i, frame) in frames.iter().enumerate() {
        let ToClient::Listed { part, last, .. } = frame else {
            panic!("{frame:?}")
        };
        assert_eq!(*last, i + 1 == frames.len());
        whole.publishers.extend(part.publishers.iter().cloned());
        whole.subscribers.extend(part.subscribers.iter().cloned());
    }
    whole
}

fn query(frames: &[ToClient]) -> u64 {
    let query = frames.iter().find_map(|frame| match frame {
        ToClient::QueryTopics { query, .. } => Some(*query),
        _ => None,
    });
    query.unwrap()
}

#[test]
fn a_long_list_comes_in_parts_that_fit_a_frame() {
    let limits = Limits {
        frame_bytes: 3000,
        ..Limits::default()
    };
    let mut bus = Bus::with(limits.clone());
    let (c, asker) = (bus.join("c"), bus.join("asker"));
    for id in 0..50 {
        bus.publisher(c, id, &format!("x/{id}/{}", "y".repeat(300)));
        bus.subscriber(c, id, &[&format!("z/{id}"), &"y".repeat(300)]);
        bus.drain(c);
    }
    list(&mut bus, asker, 1, "x/**", false);
    list(&mut bus, asker, 2, "**", false);
    let frames = bus.drain(asker);
    assert!(
        frames
            .iter()
            .all(|frame| encoded_bytes(frame) <= limits.frame_bytes as usize)
    );
    let second = frames
        .iter()
        .position(|frame| matches!(frame, ToClient::Listed { request: 2, .. }))
        .unwrap();
    let (narrow, all) = (listed(&frames[..second]), listed(&frames[second..]));
    assert_eq!((narrow.publishers.len(), narrow.subscribers.len()), (50, 0));
    assert_eq!((all.publishers.len(), all.subscribers.len()), (50, 50));
}

#[test]
fn what_handles_were_opened_with_is_listed_in_parts_that_fit_a_frame() {
    let limits = Limits {
        frame_bytes: 3000,
        ..Limits::default()
    };
    let mut bus = Bus::with(limits.clone());
    let (c, asker) = (bus.join("c"), bus.join("asker"));
    for id in 0..20 {
        let spec = PublisherSpec {
            history: id,
            ..publishing("x")
        };
        let publisher = ToBroker::OpenPublisher {
            request: 1,
            publisher: id,
            spec,
        };
        bus.send(c, publisher);
        let spec = SubscriberSpec {
            excludes: vec![format!("x/{id}"), "e".repeat(300)],
            queue: Some("q".repeat(200)),
            ..subscribing(&["z"])
        };
        let subscriber = ToBroker::OpenSubscriber {
            request: 2,
            subscriber: id,
            spec,
        };
        bus.send(c, subscriber);
        bus.drain(c);
    }
    list(&mut bus, asker, 1, "**", false);
    let frames = bus.drain(asker);
    let fits = |frame| encoded_bytes(frame) <= limits.frame_bytes as usize;
    assert!(frames.iter().all(fits));
    let all = listed(&frames);
    let histories = all.publishers.iter().map(|info| info.history);
    assert!(histories.eq(0..20));
    assert_eq!(all.subscribers.len(), 20);
    for info in &all.subscribers {
        assert_eq!(info.queue.as_deref(), Some(&*"q".repeat(200)));
        assert_eq!(info.excludes.len(), 2);
        assert!(info.excludes.contains(&"e".repeat(300)), "{info:?}");
    }
}

#[test]
fn clients_are_listed_in_parts() {
    let mut bus = Bus::with(Limits {
        frame_bytes: 1024,
        ..Limits::default()
    });
    let (p, s, _) = bus.pair("x");
    for i in 0..20 {
        bus.join(&format!("client {i}"));
    }
    bus.send(p, ToBroker::ListClients { request: 3 });
    let frames = bus.drain(p);
    assert!(frames.iter().all(|frame| encoded_bytes(frame) <= 1024));
    let clients: Vec<_> = frames
        .into_iter()
        .flat_map(|frame| match frame {
            ToClient::Clients {
                request: 3, part, ..
            } => part,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(clients.len(), 22);
    assert_eq!(
        (
            clients[0].publishers,
            clients[0].subscribers,
            clients[0].lanes
        ),
        (1, 0, 1)
    );
    assert_eq!(bus.drain(s), []);
}

#[test]
fn a_live_list_is_answered_when_all_publishers_have() {
    let mut bus = Bus::with(Limits {
        listed_topics: 2,
        ..Limits::default()
    });
    let (a, b, asker) = (bus.join("a"), bus.join("b"), bus.join("asker"));
    bus.publisher(a, 1, "md/**");
    bus.publisher(b, 1, "md/x");
    for session in [a, b] {
        bus.drain(session);
    }
    let actions = list(&mut bus, asker, 1, "md/*", true);
    assert_eq!(actions, [Action::Flush(a), Action::Flush(b)]);
    assert_eq!(bus.engine.next_timeout(), Some(Duration::from_millis(500)));
    let query_a = query(&bus.drain(a));
    let query_b = query(&bus.drain(b));
    let topics = ["md/x", "other", "md/y", "md/z"].map(String::from).to_vec();
    bus.send(
        a,
        ToBroker::LiveTopics {
            query: query_a,
            topics,
        },
    );
    assert_eq!(bus.drain(asker), []);
    let actions = bus.send(
        b,
        ToBroker::LiveTopics {
            query: query_b,
            topics: vec!["md/\x1b[2J".into()],
        },
    );
    assert_eq!(actions, [Action::Flush(asker)]);
    let publishers = listed(&bus.drain(asker)).publishers;
    assert_eq!(publishers[0].live_topics, Some(vec!["md/x".into()]));
    assert_eq!(publishers[1].live_topics, Some(vec![]));
    assert_eq!(bus.engine.next_timeout(), None);
}

#[test]
fn a_live_list_does_not_wait_for_a_stopped_publisher_nor_pile_up_there() {
    let mut bus = Bus::new();
    let (stopped, asker) = (bus.join("stopped"), bus.join("asker"));
    bus.publisher(stopped, 1, "x");
    for round in 0..100 {
        list(&mut bus, asker, round, "**", true);
        list(&mut bus, asker, 999, "**", true);
        let refused = refusal(&bus.drain(asker));
        assert!(matches!(
            refused,
            Some(Refusal::Limit {
                kind: LimitKind::LiveLists,
                ..
            })
        ));
        bus.now += Duration::from_millis(499);
        assert_eq!(bus.event(Event::Tick), []);
        bus.now = bus.engine.next_timeout().unwrap();
        assert_eq!(bus.event(Event::Tick), [Action::Flush(asker)]);
        assert_eq!(listed(&bus.drain(asker)).publishers[0].live_topics, None);
        assert!(bus.engine.sessions.session(stopped).unwrap().outbox.len() <= 2);
    }
}

#[test]
fn a_live_list_ends_with_its_publishers_or_its_asker() {
    let mut bus = Bus::new();
    let (p, asker) = (bus.join("p"), bus.join("asker"));
    bus.publisher(p, 1, "x");
    list(&mut bus, asker, 1, "**", true);
    bus.send(p, ToBroker::ClosePublisher { publisher: 1 });
    assert_eq!(listed(&bus.drain(asker)), Listing::default());
    bus.publisher(p, 2, "x");
    bus.drain(p);
    list(&mut bus, asker, 2, "**", true);
    bus.event(Event::Closed { session: asker });
    assert_eq!(bus.drain(p), []);
    assert_eq!(bus.engine.next_timeout(), None);
}

#[test]
fn only_the_client_that_was_asked_may_answer() {
    let mut bus = Bus::new();
    let (p, asker) = (bus.join("p"), bus.join("asker"));
    bus.publisher(p, 1, "x");
    list(&mut bus, asker, 1, "**", true);
    let query = query(&bus.drain(p));
    let actions = bus.send(
        asker,
        ToBroker::LiveTopics {
            query,
            topics: vec![],
        },
    );
    assert!(actions.iter().any(|action| matches!(
        action,
        Action::Close {
            reason: CloseReason::ForeignQuery(_),
            ..
        }
    )));
    assert_eq!(
        bus.send(
            p,
            ToBroker::LiveTopics {
                query,
                topics: vec![]
            }
        ),
        []
    );
}
