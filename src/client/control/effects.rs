//! Carries out the effects of the session.

use crate::lane::ReadsOn;
use crate::link::Descriptor;
use crate::segment::{ForeignSegment, Kind, PAGE_BYTES, SegmentError};
use crate::topic::Pattern;
use crate::wire::{HandleId, LaneId, LaneRefusal, RequestId, Route, Welcome};

use super::memory::{attach, make_reader, make_writer, open, patterns};
use super::{Control, Post};
use crate::client::error::ConnectError;
use crate::client::inbound::ReaderCommand;
use crate::client::outbound::{Change, Membership, WriterCommand};
use crate::client::session::{Effect, Offer, PeerHalf, PeerSegment, Reply};
use crate::client::shared::Joined;

impl Control {
    pub(super) fn carry_out(&mut self, effects: impl IntoIterator<Item = Effect<Descriptor>>) {
        for effect in effects {
            match effect {
                Effect::Welcomed(welcome, epochs) => self.join(*welcome, epochs),
                Effect::Reply(request, reply) => self.reply(request, reply),
                Effect::AddWriter(route) => self.add_writer(route),
                Effect::ChangeWriter(route) => self.change_writer(route),
                Effect::AttachWriter {
                    publisher,
                    lane,
                    half,
                    area,
                } => {
                    self.attach_writer(publisher, lane, half, area);
                }
                Effect::EndWriter {
                    publisher,
                    lane,
                    exited,
                } => {
                    let reads_on = match exited || self.peers.has_exited(lane) {
                        true => ReadsOn::No,
                        false => ReadsOn::Yes,
                    };
                    self.peers.forget(lane);
                    self.looks.remove(&lane);
                    self.answers.remove(&lane);
                    self.post_writer(publisher, WriterCommand::End { lane, reads_on });
                }
                Effect::AddReader(offer) => self.add_reader(*offer),
                Effect::EndReader { subscriber, lane } => {
                    self.peers.forget(lane);
                    self.post_reader(subscriber, ReaderCommand::End { lane });
                }
                Effect::RefusedReader {
                    subscriber,
                    publisher_name,
                    refusal,
                } => {
                    self.post_reader(
                        subscriber,
                        ReaderCommand::Refused {
                            publisher: publisher_name,
                            refusal,
                        },
                    );
                }
                Effect::WakeReader { subscriber, lane } => {
                    if let Some(port) = self.subscribers.get(&subscriber) {
                        // Of a publisher that is gone there is nothing left to look at.
                        port.mailbox.take_back(|other| other.is_look(lane));
                        port.mailbox.bell().ring();
                    }
                }
                Effect::Applied(epoch) => self.enqueue(Post::Applied(epoch)),
                Effect::AnswerTopics {
                    query,
                    publisher,
                    pattern,
                } => self.answer_topics(query, publisher, &pattern),
            }
        }
    }

    fn join(&mut self, welcome: Welcome, epochs: PeerSegment<Descriptor>) {
        let limit = PAGE_BYTES as u64 + u64::from(u32::MAX);
        let result =
            open(epochs).and_then(|handle| ForeignSegment::open(handle, Kind::Epochs, limit));
        let epoch_offset = welcome.epoch_index as usize * EPOCH_SPACING_BYTES;
        let word = result.map(|epochs| (epochs.kept_word(epoch_offset), epochs.data_len()));
        let result = match word {
            Ok((Some(epoch), _)) => {
                if let Some(link) = &mut self.link {
                    link.set_peer_frame_bytes(welcome.limits.frame_bytes);
                }
                self.shared.set_joined(Joined {
                    client: welcome.client,
                    incarnation: welcome.incarnation,
                    limits: welcome.limits,
                    epoch,
                });
                Ok(())
            }
            Ok((None, data_len)) => Err(ConnectError::Epochs(SegmentError::Shape {
                kind: Kind::Epochs,
                data_len: data_len as u64,
            })),
            Err(error) => Err(ConnectError::Epochs(error)),
        };
        if let Some(joining) = self.joining.take() {
            let _ = joining.try_send(result);
        }
    }

    fn reply(&mut self, request: RequestId, reply: Reply) {
        if let (Some(joining), Reply::Refused(refusal)) = (&self.joining, &reply) {
            let _ = joining.try_send(Err(ConnectError::Refused(refusal.clone())));
            self.joining = None;
            return;
        }
        let replies = if reply.is_last() {
            self.requests.remove(&request)
        } else {
            self.requests.get(&request).cloned()
        };
        if let Some(replies) = replies {
            self.enqueue(Post::Reply(replies, reply));
        }
    }

    fn add_writer(&mut self, route: Route) {
        let Some(port) = self.publishers.get(&route.publisher).cloned() else {
            // Closed meanwhile, which the broker is about to learn.
            self.session.forget_writer(route.lane);
            return;
        };
        match make_writer(&port, &route, self.shared.options()) {
            Ok((command, half)) => {
                self.session.offer(route.lane, half);
                if let Some(command) = command {
                    let answer = command.answer(route.lane);
                    self.answers
                        .extend(answer.map(|answer| (route.lane, answer)));
                    let command = self.of_member(command, &route);
                    self.enqueue(Post::Writer(port, command));
                } else {
                    self.looks.insert(route.lane);
                }
            }
            Err(reason) => self.refuse(route.lane, LaneRefusal::Ring(reason)),
        }
    }

    /// The lane of a member of a queue group tells its end.
    fn of_member(&self, command: WriterCommand, route: &Route) -> WriterCommand {
        match (command, &route.queue) {
            (WriterCommand::Add(lane), Some(queue)) => {
                let membership = Membership::new(queue, route.lane, self.shared.clone());
                WriterCommand::Add(Box::new(lane.of_member(membership)))
            }
            (command, _) => command,
        }
    }

    fn change_writer(&mut self, route: Route) {
        match patterns(&route) {
            Ok(patterns) => {
                let change = Change {
                    lane: route.lane,
                    patterns,
                    overflow: route.overflow,
                };
                self.post_writer(route.publisher, WriterCommand::Change(change));
            }
            Err(reason) => self.refuse(route.lane, LaneRefusal::Ring(reason)),
        }
    }

    fn attach_writer(
        &mut self,
        publisher: HandleId,
        lane: LaneId,
        half: PeerHalf<Descriptor>,
        area: u32,
    ) {
        let Some(port) = self.publishers.get(&publisher).cloned() else {
            return;
        };
        let PeerHalf {
            process,
            segment,
            bell,
        } = half;
        match attach(segment, bell, area, self.shared.options().memory) {
            Ok((area, peer, bell)) => {
                self.peers.watch(process, lane);
                if let Some(answer) = self.answers.remove(&lane) {
                    // Given once.
                    let _ = answer.set(area.clone());
                }
                let command = match self.looks.contains(&lane) {
                    true => WriterCommand::Watch {
                        lane,
                        cursor: area.cursor(),
                        peer,
                    },
                    false => WriterCommand::Attach { lane, area, peer },
                };
                self.enqueue(Post::Attach(port, command, bell));
            }
            Err(reason) => {
                self.refuse(lane, LaneRefusal::Cursor(reason));
                let reads_on = ReadsOn::No;
                self.post_writer(publisher, WriterCommand::End { lane, reads_on });
            }
        }
    }

    fn add_reader(&mut self, offer: Offer<Descriptor>) {
        let lane = offer.lane;
        let Some(port) = self.subscribers.get(&offer.subscriber).cloned() else {
            self.session.forget_reader(lane);
            return;
        };
        let process = offer.half.process.clone();
        let publisher = offer.publisher_name.clone();
        match make_reader(&port, offer, self.shared.options().memory) {
            Ok((reader, area, segment, bell)) => {
                self.session.accept(lane, area, segment, bell);
                self.peers.watch(process, lane);
                self.enqueue(Post::Reader(port, ReaderCommand::Add(Box::new(reader))));
            }
            Err(reason) => {
                let refusal = LaneRefusal::Subscriber(reason);
                self.refuse(lane, refusal.clone());
                self.enqueue(Post::Reader(
                    port,
                    ReaderCommand::Refused { publisher, refusal },
                ));
            }
        }
    }

    fn answer_topics(&mut self, query: u64, publisher: HandleId, pattern: &str) {
        let port = self.publishers.get(&publisher);
        let names = match (port, Pattern::try_from(pattern)) {
            (Some(port), Ok(pattern)) => {
                let most = self.shared.joined().limits.listed_topics as usize;
                port.live.names(|topic| pattern.intersects(topic), most)
            }
            _ => Vec::new(),
        };
        self.session.answer_topics(query, names);
    }

    pub(super) fn refuse(&mut self, lane: LaneId, reason: LaneRefusal) {
        tracing::warn!(lane, %reason, "a lane ends");
        self.peers.forget(lane);
        self.answers.remove(&lane);
        self.session.refuse(lane, reason);
    }

    fn post_writer(&mut self, publisher: HandleId, command: WriterCommand) {
        if let Some(port) = self.publishers.get(&publisher).cloned() {
            self.enqueue(Post::Writer(port, command));
        }
    }

    fn post_reader(&mut self, subscriber: HandleId, command: ReaderCommand) {
        if let Some(port) = self.subscribers.get(&subscriber).cloned() {
            self.enqueue(Post::Reader(port, command));
        }
    }

    /// Posts when all that the session has said up to now is sent; at once if there is no broker to say it to.
    pub(super) fn enqueue(&mut self, post: Post) {
        if self.link.is_none() {
            self.deliver(post);
            return;
        }
        let mark = self.given + self.session.unsent() as u64;
        self.posts.push_back((mark, post));
    }
}

/// Between the route-epoch words of two clients: a cache line.
const EPOCH_SPACING_BYTES: usize = 64;
