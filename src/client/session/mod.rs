//! What a client and its broker owe each other, as a state machine without socket, clock, thread.
//!
//! Frames go in with [`Session::handle`], what has to be done comes out as [`Effect`]s, frames to send come out of
//! [`Session::poll_transmit`]. `D` is a descriptor, opaque here.

mod descriptors;
mod effect;

use std::collections::{HashMap, VecDeque};

use crate::wire::{
    HandleId, LaneId, LaneRefusal, Limits, Refusal, RequestId, RouteChange, ToBroker, ToClient,
};

pub use effect::ProtocolError;
pub(crate) use effect::{Effect, Offer, Outgoing, OwnHalf, PeerHalf, PeerSegment, Reply};

use descriptors::{Descriptors, frame_name, source, split};

/// The client's side of a link.
pub(crate) struct Session<D> {
    phase: Phase,
    limits: Limits,
    /// Frames for the link, in order.
    outbox: VecDeque<Outgoing<D>>,
    /// Requests that wait until fewer are unanswered than the broker allows.
    waiting: VecDeque<ToBroker>,
    unanswered: u32,
    /// Lanes of own publishers.
    writers: HashMap<LaneId, HandleId>,
    /// Lanes of own publishers that have ended here before the broker has said so; it may still change their routes.
    ended: HashMap<LaneId, HandleId>,
    /// Lanes of own subscribers.
    readers: HashMap<LaneId, HandleId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Joined,
}

impl<D> Session<D> {
    /// A session that greets the broker first.
    pub(crate) fn new(name: String) -> Self {
        let mut session = Self {
            phase: Phase::Greeting,
            limits: Limits::default(),
            outbox: VecDeque::new(),
            waiting: VecDeque::new(),
            unanswered: 0,
            writers: HashMap::new(),
            ended: HashMap::new(),
            readers: HashMap::new(),
        };
        session.send(ToBroker::Hello { name });
        session
    }

    /// The next frame to send; called while the link takes data.
    pub(crate) fn poll_transmit(&mut self) -> Option<Outgoing<D>> {
        self.outbox.pop_front()
    }

    /// Takes in a frame.
    pub(crate) fn handle(
        &mut self,
        frame: ToClient,
        descriptors: Vec<D>,
    ) -> Result<Vec<Effect<D>>, ProtocolError> {
        let mut descriptors = Descriptors::new(&frame, descriptors)?;
        let name = frame_name(&frame);
        match (self.phase, frame) {
            (Phase::Greeting, ToClient::Welcome(welcome)) => {
                self.phase = Phase::Joined;
                self.limits = welcome.limits.clone();
                let segment = descriptors.segment(welcome.epochs.clone());
                Ok(vec![Effect::Welcomed(Box::new(welcome), segment)])
            }
            (Phase::Greeting, ToClient::Refused { request, refusal }) => {
                Ok(vec![Effect::Reply(request, Reply::Refused(refusal))])
            }
            (Phase::Greeting, _) => Err(ProtocolError::Unexpected {
                frame: name,
                when: "before its welcome",
            }),
            (Phase::Joined, ToClient::Welcome(_)) => Err(ProtocolError::Unexpected {
                frame: name,
                when: "when it had welcomed the client already",
            }),
            (Phase::Joined, frame) => Ok(self.handle_joined(frame, descriptors)),
        }
    }

    fn handle_joined(
        &mut self,
        frame: ToClient,
        mut descriptors: Descriptors<D>,
    ) -> Vec<Effect<D>> {
        match frame {
            ToClient::Welcome(_) => vec![],
            ToClient::Opened { request, lanes } => {
                self.answered(request, Reply::Opened(lanes), true)
            }
            ToClient::Refused { request, refusal } => {
                self.answered(request, Reply::Refused(refusal), true)
            }
            ToClient::Pong { request } => self.answered(request, Reply::Pong, true),
            ToClient::Listed {
                request,
                part,
                last,
            } => self.answered(request, Reply::Listed { part, last }, last),
            ToClient::Clients {
                request,
                part,
                last,
            } => self.answered(request, Reply::Clients { part, last }, last),
            ToClient::Routes { epoch, changes } => {
                let mut effects: Vec<_> = changes
                    .into_iter()
                    .filter_map(|change| self.change_route(change))
                    .collect();
                effects.push(Effect::Applied(epoch));
                effects
            }
            ToClient::LaneOffered {
                lane,
                subscriber,
                publisher_client,
                publisher_handle,
                publisher_name,
                publisher,
                medium,
                segment,
                history,
                courier,
                begin,
                inherited,
            } => {
                self.send(ToBroker::Received);
                let half = descriptors.half(segment);
                let courier = courier.then(|| descriptors.one());
                let history = history.map(|source| descriptors.segment(source));
                let inherited = inherited.map(|inherited| {
                    (
                        inherited.page.map(|page| descriptors.segment(page)),
                        inherited.area,
                    )
                });
                self.readers.insert(lane, subscriber);
                vec![Effect::AddReader(Box::new(Offer {
                    lane,
                    subscriber,
                    publisher_id: (publisher_client, publisher_handle),
                    publisher_name,
                    publisher,
                    medium,
                    half,
                    history,
                    courier,
                    begin,
                    inherited,
                }))]
            }
            ToClient::LaneAccepted {
                lane,
                segment,
                area,
            } => {
                self.send(ToBroker::Received);
                let half = descriptors.half(segment);
                let publisher = self.writers.get(&lane).copied();
                publisher
                    .map(|publisher| Effect::AttachWriter {
                        publisher,
                        lane,
                        half,
                        area,
                    })
                    .into_iter()
                    .collect()
            }
            // The broker's word that the publisher is gone is no reason to stop reading: its ring says when nothing more
            // comes, or why, or the exit of its process. But it may have closed before it knew whom to wake.
            ToClient::LaneEnded {
                lane,
                subscriber,
                publisher_name,
                refusal,
            } => {
                vec![
                    match refusal.filter(|refusal| *refusal != LaneRefusal::Overflow) {
                        Some(refusal) => Effect::RefusedReader {
                            subscriber,
                            publisher_name,
                            refusal,
                        },
                        None => Effect::WakeReader { subscriber, lane },
                    },
                ]
            }
            ToClient::QueryTopics {
                query,
                publisher,
                pattern,
            } => {
                vec![Effect::AnswerTopics {
                    query,
                    publisher,
                    pattern,
                }]
            }
        }
    }

    /// Sends a request, as soon as few enough are unanswered.
    pub(crate) fn request(&mut self, frame: ToBroker) {
        self.waiting.push_back(frame);
        self.send_waiting();
    }

    /// Sends a frame that is not answered.
    pub(crate) fn tell(&mut self, frame: ToBroker) {
        self.send(frame);
    }

    /// A request cannot be sent: it is answered here.
    pub(crate) fn unsendable(&mut self, request: RequestId, refusal: Refusal) -> Vec<Effect<D>> {
        self.answered(request, Reply::Refused(refusal), true)
    }

    /// Frames that wait to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.outbox.len()
    }

    /// Ends a publisher; gives its lanes.
    pub(crate) fn close_publisher(&mut self, publisher: HandleId) -> Vec<LaneId> {
        self.waiting.retain(
            |frame| !matches!(frame, ToBroker::OpenPublisher { publisher: opening, .. } if *opening == publisher),
        );
        self.ended.retain(|_, owner| *owner != publisher);
        self.send(ToBroker::ClosePublisher { publisher });
        self.writers
            .extract_if(|_, owner| *owner == publisher)
            .map(|(lane, _)| lane)
            .collect()
    }

    /// Ends a subscriber; gives its lanes.
    pub(crate) fn close_subscriber(&mut self, subscriber: HandleId) -> Vec<LaneId> {
        self.waiting.retain(
            |frame| !matches!(frame, ToBroker::OpenSubscriber { subscriber: opening, .. } if *opening == subscriber),
        );
        self.send(ToBroker::CloseSubscriber { subscriber });
        self.readers
            .extract_if(|_, owner| *owner == subscriber)
            .map(|(lane, _)| lane)
            .collect()
    }

    /// What an added writer's lane lies in is made.
    pub(crate) fn offer(&mut self, lane: LaneId, half: OwnHalf<D>) {
        let (segment, mut descriptors) = split(half.segment, half.bell);
        let courier = half.courier.is_some();
        descriptors.extend(half.courier);
        let history = half.history.map(|history| {
            let (source, more) = source(history);
            descriptors.extend(more);
            source
        });
        self.outbox.push_back(Outgoing {
            frame: ToBroker::OfferLane {
                lane,
                medium: half.medium,
                segment,
                history,
                courier,
                begin: half.begin,
            },
            descriptors,
        });
    }

    /// The ring of an added reader is mapped.
    pub(crate) fn accept(&mut self, lane: LaneId, area: u32, segment: PeerSegment<D>, bell: D) {
        let (segment, descriptors) = split(segment, bell);
        self.outbox.push_back(Outgoing {
            frame: ToBroker::AcceptLane {
                lane,
                segment,
                area,
            },
            descriptors,
        });
    }

    /// A lane cannot be taken part in.
    pub(crate) fn refuse(&mut self, lane: LaneId, reason: LaneRefusal) {
        match reason {
            LaneRefusal::Ring(_)
            | LaneRefusal::Cursor(_)
            | LaneRefusal::TransportLost
            | LaneRefusal::Overflow => {
                self.end_writer(lane);
            }
            LaneRefusal::Subscriber(_) => self.forget_reader(lane),
        }
        self.send(ToBroker::RefuseLane { lane, reason });
    }

    /// Takes the lanes of all publishers, for a link whose end is theirs.
    pub(crate) fn take_writers(&mut self) -> Vec<(LaneId, HandleId)> {
        self.writers.drain().collect()
    }

    /// The process at the other end of a lane has exited.
    pub(crate) fn peer_exited(&mut self, lane: LaneId) -> Option<Effect<D>> {
        if let Some(publisher) = self.end_writer(lane) {
            return Some(Effect::EndWriter {
                publisher,
                lane,
                exited: true,
            });
        }
        self.readers
            .remove(&lane)
            .map(|subscriber| Effect::EndReader { subscriber, lane })
    }

    /// An added writer's publisher is closed already. A client's lane to itself keeps its reader.
    pub(crate) fn forget_writer(&mut self, lane: LaneId) {
        self.writers.remove(&lane);
    }

    /// An added reader's subscriber is closed already. A client's lane to itself keeps its writer.
    pub(crate) fn forget_reader(&mut self, lane: LaneId) {
        self.readers.remove(&lane);
    }

    fn end_writer(&mut self, lane: LaneId) -> Option<HandleId> {
        let publisher = self.writers.remove(&lane)?;
        self.ended.insert(lane, publisher);
        Some(publisher)
    }

    /// Answers `AnswerTopics`.
    pub(crate) fn answer_topics(&mut self, query: u64, mut topics: Vec<String>) {
        topics.truncate(self.limits.listed_topics as usize);
        let mut room = (self.limits.frame_bytes / 2) as usize;
        let fitting = topics.iter().take_while(|topic| {
            let bytes = topic.len() + BYTES_PER_TEXT;
            room.checked_sub(bytes).map(|left| room = left).is_some()
        });
        topics.truncate(fitting.count());
        self.send(ToBroker::LiveTopics { query, topics });
    }

    fn change_route(&mut self, change: RouteChange) -> Option<Effect<D>> {
        match change {
            RouteChange::Set(route) if self.ended.contains_key(&route.lane) => None,
            RouteChange::Set(route) => {
                Some(match self.writers.insert(route.lane, route.publisher) {
                    None => Effect::AddWriter(route),
                    Some(_) => Effect::ChangeWriter(route),
                })
            }
            RouteChange::Remove { publisher, lane } => {
                self.ended.remove(&lane);
                let known = self.writers.remove(&lane);
                known.map(|_| Effect::EndWriter {
                    publisher,
                    lane,
                    exited: false,
                })
            }
        }
    }

    fn answered(&mut self, request: RequestId, reply: Reply, last: bool) -> Vec<Effect<D>> {
        if last {
            self.unanswered = self.unanswered.saturating_sub(1);
            self.send_waiting();
        }
        vec![Effect::Reply(request, reply)]
    }

    fn send_waiting(&mut self) {
        while self.unanswered < self.limits.requests
            && let Some(frame) = self.waiting.pop_front()
        {
            self.unanswered += 1;
            self.send(frame);
        }
    }

    fn send(&mut self, frame: ToBroker) {
        self.outbox.push_back(Outgoing {
            frame,
            descriptors: Vec::new(),
        });
    }
}

/// What a text takes in a frame beside its own bytes, padding included; more than the archive needs.
const BYTES_PER_TEXT: usize = 16;
