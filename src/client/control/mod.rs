//! The control thread: carries out what the session decides.
//!
//! It sleeps in `poll` until the link, a handle or the exit of a peer's process wakes it. What it does for a handle is
//! *posted*, in the order of the session's effects, and only when all frames that were queued before have been handed
//! to the kernel: so a publisher writes into a ring only when its offer can no longer be lost with this process.

mod effects;
mod memory;

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::lane::Answer;
use crate::link::{Descriptor, Link, LinkError, Outgoing, Peers, Progress, Received};
use crate::wake::{BellReceiver, BellSender};
use crate::wire::{
    EncodeError, HandleId, LaneId, LaneRefusal, LimitKind, Refusal, RequestId, ToBroker, ToClient,
};

use super::error::ConnectError;
use super::inbound::{InLane, MOST_REFUSED, ReaderCommand, SubscriberPort};
use super::mailbox::Mailbox;
use super::outbound::WriterCommand;
use super::session::{Reply, Session};
use super::shared::{Command, PublisherPort, Shared};

/// The state of the control thread.
pub(super) struct Control {
    shared: Arc<Shared>,
    /// `None` once it is closed.
    link: Option<Link<ToClient, ToBroker>>,
    progress: Progress,
    /// Whether the link may have frames that have come and were not taken.
    left_unread: bool,
    bell: BellReceiver,
    session: Session<Descriptor>,
    publishers: HashMap<HandleId, Arc<PublisherPort>>,
    subscribers: HashMap<HandleId, Arc<SubscriberPort>>,
    requests: HashMap<RequestId, Sender<Reply>>,
    peers: Peers,
    /// Lanes by which somebody looks at the history of a publisher.
    looks: HashSet<LaneId>,
    /// What is to be told of lanes whose subscribers have not answered.
    answers: HashMap<LaneId, Answer>,
    reach: Reach,
    /// Frames that were given to the link.
    given: u64,
    /// What is to be posted when that many frames are sent.
    posts: VecDeque<(u64, Post)>,
    /// Where the outcome of joining goes.
    joining: Option<SyncSender<Result<(), ConnectError>>>,
}

/// Where the broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// On this host: lanes do without it.
    ThisHost,
    /// On another one: lanes lead through the same connection.
    OtherHost,
}

/// Something for a handle.
enum Post {
    Writer(Arc<PublisherPort>, WriterCommand),
    /// The subscriber at the other end is woken once the publisher can know how to wake it.
    Attach(Arc<PublisherPort>, WriterCommand, BellSender),
    Reader(Arc<SubscriberPort>, ReaderCommand),
    Reply(Sender<Reply>, Reply),
    Applied(u64),
    /// For nobody: a lane that was read to its end gives its memory back.
    Part(Box<InLane>),
}

/// Whether the thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

impl Control {
    pub(super) fn new(
        shared: Arc<Shared>,
        link: Link<ToClient, ToBroker>,
        bell: BellReceiver,
        reach: Reach,
        joining: SyncSender<Result<(), ConnectError>>,
    ) -> Self {
        let session = Session::new(shared.name().to_owned());
        Self {
            shared,
            link: Some(link),
            progress: Progress::Blocked,
            left_unread: false,
            bell,
            session,
            publishers: HashMap::new(),
            subscribers: HashMap::new(),
            requests: HashMap::new(),
            peers: Peers::default(),
            reach,
            given: 0,
            posts: VecDeque::new(),
            looks: HashSet::new(),
            answers: HashMap::new(),
            joining: Some(joining),
        }
    }

    /// Runs until the client's last handle is gone.
    pub(super) fn run(mut self) {
        loop {
            self.transmit();
            self.post();
            self.wait();
            self.bell.drain();
            if self.take_commands() == Go::Stop {
                self.transmit();
                self.post();
                return;
            }
            self.receive();
            for lane in self.peers.exited() {
                let effect = self.session.peer_exited(lane);
                self.carry_out(effect);
            }
        }
    }

    /// Sends what the session has to say, as far as the socket takes it.
    fn transmit(&mut self) {
        let Some(link) = &mut self.link else { return };
        let mut result = link.flush();
        while let Ok(Progress::Sent) = result
            && let Some(outgoing) = self.session.poll_transmit()
            && let Some(link) = &mut self.link
        {
            self.given += 1;
            let request = outgoing.frame.request();
            result = link.try_send(Outgoing {
                frame: outgoing.frame,
                descriptors: outgoing.descriptors,
            });
            if let Err(LinkError::Encode(EncodeError::TooLarge { len, limit })) = result
                && let Some(request) = request
            {
                // Nothing of it was sent: the link is as before.
                let refusal = Refusal::Limit {
                    kind: LimitKind::FrameBytes,
                    limit: limit.into(),
                    asked: len as u64,
                };
                let effects = self.session.unsendable(request, refusal);
                self.carry_out(effects);
                result = Ok(Progress::Sent);
            }
        }
        match result {
            Ok(Progress::Closed) => {
                // What the broker sent before is still to be read; `receive` closes the link behind it.
                self.progress = Progress::Closed;
            }
            Ok(progress) => self.progress = progress,
            Err(error) => self.close(Some(error.into())),
        }
    }

    /// Posts what need not wait for frames any more.
    fn post(&mut self) {
        let sent = match &self.link {
            Some(link) => self.given - (link.unsent() as u64).min(self.given),
            None => return,
        };
        while self.posts.front().is_some_and(|(mark, _)| *mark <= sent)
            && self.progress != Progress::Closed
        {
            let Some((_, post)) = self.posts.pop_front() else {
                return;
            };
            self.deliver(post);
        }
    }

    fn deliver(&self, post: Post) {
        match post {
            // A publisher that does not publish does not take them either.
            Post::Writer(port, WriterCommand::Change(change)) => {
                let lane = change.lane;
                let is_void = |other: &WriterCommand| matches!(other, WriterCommand::Change(other) if other.lane == lane);
                port.mailbox
                    .post_instead_of(is_void, WriterCommand::Change(change));
            }
            // Nor what is over before it has learned of it.
            Post::Writer(port, WriterCommand::End { lane, .. })
                if take_back_lane(&port.mailbox, lane) => {}
            Post::Writer(port, command) => port.post(command),
            Post::Attach(port, command, subscriber) => {
                port.mailbox.post(command);
                subscriber.ring();
            }
            // No broker refuses so many lanes to a subscriber that does not listen.
            Post::Reader(port, ReaderCommand::Refused { .. })
                if port.mailbox.len() >= MOST_REFUSED => {}
            // There is nothing left to look at.
            Post::Reader(port, ReaderCommand::End { lane })
                if port.mailbox.take_back(|other| other.is_look(lane)) => {}
            Post::Reader(port, command) => port.mailbox.post(command),
            // A requester that has given up does not listen.
            Post::Reply(replies, reply) => drop(replies.send(reply)),
            Post::Applied(epoch) => self.shared.set_applied(epoch),
            Post::Part(reader) => drop(reader),
        }
    }

    fn wait(&mut self) {
        let timeout = match self.progress {
            Progress::TooManyInFlight => PollTimeout::from(IN_FLIGHT_RETRY_MS),
            _ => PollTimeout::NONE,
        };
        let timeout = match self.left_unread && !self.is_full() {
            true => PollTimeout::ZERO,
            false => timeout,
        };
        let mut polled = vec![PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        if let Some(link) = &self.link {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, !self.is_full());
            flags.set(PollFlags::POLLOUT, self.progress == Progress::Blocked);
            polled.push(PollFd::new(link.as_fd(), flags));
        }
        polled.extend(
            self.peers
                .processes()
                .map(|process| PollFd::new(process, PollFlags::POLLIN)),
        );
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            // The kernel has no memory for the call; whoever is woken too early looks and comes back.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }

    fn take_commands(&mut self) -> Go {
        for command in self.shared.take_commands() {
            match command {
                Command::Request { frame, replies } => self.request(frame, replies),
                Command::AddPublisher(id, port) => drop(self.publishers.insert(id, port)),
                Command::AddSubscriber(id, port) => drop(self.subscribers.insert(id, port)),
                Command::ClosePublisher(id) => {
                    self.publishers.remove(&id);
                    for lane in self.session.close_publisher(id) {
                        self.peers.forget(lane);
                        self.looks.remove(&lane);
                        self.answers.remove(&lane);
                    }
                }
                Command::CloseSubscriber(id) => {
                    self.subscribers.remove(&id);
                    for lane in self.session.close_subscriber(id) {
                        self.peers.forget(lane);
                    }
                }
                Command::Leave(lane) => {
                    self.refuse(lane, LaneRefusal::Subscriber("the lane is broken".into()))
                }
                Command::Disconnect(lane) => self.refuse(lane, LaneRefusal::Overflow),
                Command::RefuseWriter(lane, reason) => self.refuse(lane, reason),
                Command::Finished(lane) => {
                    self.peers.forget(lane);
                    self.session.forget_reader(lane);
                }
                Command::ReadUp(reader) => {
                    let lane = reader.lane();
                    self.peers.forget(lane);
                    self.session.forget_reader(lane);
                    if self.link.is_some() {
                        self.session.tell(ToBroker::LaneFinished { lane });
                    }
                    self.enqueue(Post::Part(reader));
                }
                Command::Tell(frame) => {
                    if self.link.is_some() {
                        self.session.tell(frame);
                    }
                }
                Command::Stop => return Go::Stop,
            }
        }
        Go::On
    }

    fn request(&mut self, frame: ToBroker, replies: Sender<Reply>) {
        // Without a link the sender is dropped, which tells the requester.
        if self.link.is_some()
            && let Some(request) = frame.request()
        {
            self.requests.insert(request, replies);
            self.session.request(frame);
        }
    }

    /// Whether so much waits to be sent that nothing more is read, which may have to be answered. A broker reads always, so
    /// this holds up only one that asks and takes nothing.
    fn is_full(&self) -> bool {
        let waiting = self.session.unsent().max(self.posts.len());
        waiting >= MOST_UNSENT && self.progress != Progress::Closed
    }

    fn receive(&mut self) {
        self.left_unread = false;
        while !self.is_full()
            && let Some(link) = &mut self.link
        {
            match link.try_recv() {
                Ok(Received::Frame(frame, descriptors)) => {
                    let descriptors = descriptors.into_iter().map(Arc::new).collect();
                    match self.session.handle(frame, descriptors) {
                        Ok(effects) => self.carry_out(effects),
                        Err(error) => self.close(Some(error.into())),
                    }
                }
                Ok(Received::Later) => return,
                Ok(Received::Closed) => self.close(None),
                Err(error) => self.close(Some(error.into())),
            }
        }
        self.left_unread = self.is_full();
    }

    /// The link is of no use any more. Lanes go on, unless it led to another host.
    fn close(&mut self, error: Option<ConnectError>) {
        if let Some(error) = &error {
            tracing::warn!(%error, "the link to the broker is closed");
        }
        self.link = None;
        self.requests.clear();
        for (_, post) in std::mem::take(&mut self.posts) {
            match post {
                // A lane whose offer was not sent has no reader; a reply that was not due is the broker's end.
                Post::Writer(
                    _,
                    WriterCommand::Add(_) | WriterCommand::Join(_) | WriterCommand::Copy(_),
                )
                | Post::Reply(..)
                | Post::Applied(_) => {}
                post => self.deliver(post),
            }
        }
        if self.reach == Reach::OtherHost {
            for (lane, publisher) in self.session.take_writers() {
                if let Some(port) = self.publishers.get(&publisher) {
                    port.mailbox.post(WriterCommand::Lost { lane });
                }
            }
        }
        self.shared.set_gone();
        for port in self.subscribers.values() {
            // One that has no lane learns that none can come.
            port.mailbox.bell().ring();
        }
        if let Some(joining) = self.joining.take() {
            let closed = ConnectError::Link(LinkError::Truncated);
            let _ = joining.try_send(Err(error.unwrap_or(closed)));
        }
    }
}

const IN_FLIGHT_RETRY_MS: u16 = 10;
/// Frames that may wait to be sent before no more are read: bounds what a broker can make a client keep.
const MOST_UNSENT: usize = 256;

/// Takes back what a publisher was told of a lane, if it has learned nothing of it; whether it was so.
fn take_back_lane(mailbox: &Mailbox<WriterCommand>, lane: LaneId) -> bool {
    mailbox.take_back(|other| other.is_watch(lane))
        || mailbox.has(|other| other.is_of(lane) && other.begins() && other.is_for_one())
            && mailbox.take_back(|other| other.is_of(lane))
}
