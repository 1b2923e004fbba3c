//! What the handles of a client share with its control thread.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use event_listener::{Event, EventListener, Listener};

use crate::counters::{Book, HandleSlot};
use crate::segment::fork::ProcessMark;
use crate::segment::{SegmentOptions, SegmentWord};
use crate::sync::{AtomicBool, AtomicU64, Ordering, load_acquire};
use crate::wake::{Bell, BellSender};
use crate::wire::{HandleId, LaneId, LaneRefusal, Limits, RequestId, ToBroker};

use super::error::RequestError;
use super::inbound::{InLane, SubscriberPort};
use super::mailbox::Mailbox;
use super::open_rings::OpenRings;
use super::outbound::{Gate, Waitlist, WriterCommand};
use super::session::Reply;
use super::topics::LiveTopics;

/// What the handles of a client share with its control thread.
pub(super) struct Shared {
    name: String,
    mark: ProcessMark,
    options: SegmentOptions,
    counters: Arc<Book>,
    joined: OnceLock<Joined>,
    commands: Mutex<VecDeque<Command>>,
    /// Wakes the control thread.
    control: BellSender,
    /// The route epoch up to which everything is posted to the publishers.
    applied: AtomicU64,
    /// Tells of a change of `applied` or `gone`.
    changed: Event,
    /// Whether the link is closed.
    gone: AtomicBool,
    last_request: AtomicU64,
    last_handle: AtomicU64,
}

/// What the broker has told in its welcome.
pub(super) struct Joined {
    pub(super) client: u64,
    pub(super) incarnation: u128,
    pub(super) limits: Limits,
    /// The route epoch, which the broker counts up.
    pub(super) epoch: SegmentWord,
}

/// What the control thread is asked for.
pub(super) enum Command {
    /// Sends a request; the replies go to the sender.
    Request {
        frame: ToBroker,
        replies: Sender<Reply>,
    },
    /// From now on the publisher's lanes are posted to it.
    AddPublisher(HandleId, Arc<PublisherPort>),
    /// From now on the subscriber's lanes are posted to it.
    AddSubscriber(HandleId, Arc<SubscriberPort>),
    ClosePublisher(HandleId),
    CloseSubscriber(HandleId),
    /// A subscriber cannot read the lane any more.
    Leave(LaneId),
    /// A publisher has ended the lane for want of room.
    Disconnect(LaneId),
    /// A publisher has ended the lane, for this reason.
    RefuseWriter(LaneId, LaneRefusal),
    /// A subscriber has read the lane to its end.
    Finished(LaneId),
    /// A member of a queue group has read the lane to its end.
    ReadUp(Box<InLane>),
    /// Sends a frame that is not answered.
    Tell(ToBroker),
    /// The last handle is gone.
    Stop,
}

/// What the control thread needs of a publisher.
pub(super) struct PublisherPort {
    pub(super) mailbox: Arc<Mailbox<WriterCommand>>,
    pub(super) live: Arc<LiveTopics>,
    /// Smallest ring that its messages need, in bytes; a power of two.
    pub(super) ring_bytes: usize,
    /// The same where long ones go through the pool.
    pub(super) pooled_ring_bytes: usize,
    /// Smallest lossy ring that its messages need, in bytes; a power of two.
    pub(super) lossy_bytes: usize,
    /// Size of a table for its messages, in bytes; a power of two.
    pub(super) table_bytes: usize,
    /// Where it keeps messages, what new lanes have to pass.
    pub(super) history: Option<Arc<Gate>>,
    /// What a new lane gets first.
    pub(super) waitlist: Arc<Waitlist>,
    /// Rings that new subscribers can come to; `None` where each has its own.
    pub(super) rings: Option<Arc<OpenRings>>,
    pub(super) message_type: String,
    pub(super) counters: Arc<HandleSlot>,
}

impl PublisherPort {
    /// Tells the publisher something; a new lane begins with that, where there is a history.
    pub(super) fn post(&self, command: WriterCommand) {
        match command {
            WriterCommand::Add(lane) => {
                self.waitlist
                    .hand_over(lane, |lane| self.begin(WriterCommand::Add(lane)));
            }
            command => self.begin(command),
        }
    }

    fn begin(&self, command: WriterCommand) {
        match (&self.history, command.new_memory()) {
            (Some(history), Some(memory)) => history.begin(&memory, || self.mailbox.post(command)),
            _ => self.mailbox.post(command),
        }
    }
}

impl Shared {
    pub(super) fn new(
        name: String,
        mark: ProcessMark,
        options: SegmentOptions,
        control: BellSender,
    ) -> Self {
        Self {
            counters: Arc::new(Book::new(&name, mark).with_memory(options.memory)),
            name,
            mark,
            options,
            joined: OnceLock::new(),
            commands: Mutex::default(),
            control,
            applied: AtomicU64::new(0),
            changed: Event::new(),
            gone: AtomicBool::new(false),
            last_request: AtomicU64::new(0),
            last_handle: AtomicU64::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn options(&self) -> &SegmentOptions {
        &self.options
    }

    pub(super) fn counters(&self) -> &Arc<Book> {
        &self.counters
    }

    #[inline]
    pub(super) fn mark(&self) -> ProcessMark {
        self.mark
    }

    /// What the broker has told; handles exist only after that.
    #[inline]
    pub(super) fn joined(&self) -> &Joined {
        self.joined
            .get()
            .expect("a client is given out when its broker has welcomed it")
    }

    pub(super) fn set_joined(&self, joined: Joined) -> bool {
        self.counters.join(joined.incarnation, joined.client);
        self.joined.set(joined).is_ok()
    }

    pub(super) fn applied(&self) -> u64 {
        // Partner: the release in `set_applied`; what was posted before is visible.
        self.applied.load(Ordering::Acquire)
    }

    pub(super) fn set_applied(&self, epoch: u64) {
        self.applied.store(epoch, Ordering::Release);
        self.changed.notify(usize::MAX);
    }

    /// Listens to changes of what [`Shared::applied`] and [`Shared::is_gone`] tell.
    pub(super) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    /// Waits until `epoch` is applied; false if the link closes or the time is over before.
    pub(super) fn wait_applied(&self, epoch: u64, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let listener = self.listen();
            if self.applied() >= epoch {
                return true;
            }
            if self.is_gone() || listener.wait_deadline(deadline).is_none() {
                return self.applied() >= epoch;
            }
        }
    }

    #[inline]
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
        self.changed.notify(usize::MAX);
    }

    pub(super) fn next_handle(&self) -> HandleId {
        // Relaxed: a number that nobody else has, no more.
        (self.last_handle.fetch_add(1, Ordering::Relaxed) + 1) as HandleId
    }

    /// Refuses a forked child, which must not even hand a command to the thread that it does not have.
    pub(super) fn check_process(&self) -> Result<(), RequestError> {
        if self.mark.is_forked() {
            return Err(RequestError::Forked);
        }
        Ok(())
    }

    /// A bell for a new handle.
    pub(super) fn new_bell(&self) -> Result<Bell, RequestError> {
        self.check_process()?;
        Bell::new().map_err(|source| RequestError::System {
            what: "a bell",
            source,
        })
    }

    /// Hands something to the control thread.
    pub(super) fn command(&self, command: Command) {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(command);
        self.control.ring();
    }

    pub(super) fn take_commands(&self) -> VecDeque<Command> {
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a request and gives its first reply, with the receiver of the others.
    pub(super) fn request(
        &self,
        frame: impl FnOnce(RequestId) -> ToBroker,
    ) -> Result<(Reply, Receiver<Reply>), RequestError> {
        self.check_process()?;
        if self.is_gone() {
            return Err(RequestError::BrokerGone);
        }
        let request = self.last_request.fetch_add(1, Ordering::Relaxed) + 1;
        let (replies, receiver) = channel();
        self.command(Command::Request {
            frame: frame(request),
            replies,
        });
        let reply = next_reply(&receiver)?;
        Ok((reply, receiver))
    }
}

/// A route epoch as the broker has it.
#[inline(always)]
pub(super) fn load_epoch(word: &AtomicU64) -> u64 {
    // Acquire: partner of the broker's release. Nothing but the word itself is read through it, the rest comes by the link;
    // acquire keeps later loads, of the lanes, behind it.
    load_acquire(word)
}

/// The next reply to a request.
pub(super) fn next_reply(replies: &Receiver<Reply>) -> Result<Reply, RequestError> {
    match replies.recv_timeout(REPLY_PATIENCE) {
        Ok(Reply::Refused(refusal)) => Err(RequestError::Refused(refusal)),
        Ok(reply) => Ok(reply),
        Err(RecvTimeoutError::Timeout) => Err(RequestError::Silent(REPLY_PATIENCE)),
        Err(RecvTimeoutError::Disconnected) => Err(RequestError::BrokerGone),
    }
}

/// How long a broker may take to answer; it answers at once unless its process is stopped.
pub(super) const REPLY_PATIENCE: Duration = Duration::from_secs(10);
