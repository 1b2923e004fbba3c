//! How the control thread hands things to a publisher or a subscriber.

use std::sync::{Mutex, PoisonError};

use crate::sync::{AtomicU64, Ordering, fence};
use crate::wake::BellSender;

/// A queue from the control thread to one handle.
///
/// The handle looks at `version` alone while nothing happens.
pub(super) struct Mailbox<C> {
    commands: Mutex<Vec<C>>,
    /// Number of commands ever posted.
    version: AtomicU64,
    /// Wakes the handle's thread.
    bell: BellSender,
}

impl<C> Mailbox<C> {
    pub(super) fn new(bell: BellSender) -> Self {
        Self {
            commands: Mutex::new(Vec::new()),
            version: AtomicU64::new(0),
            bell,
        }
    }

    /// Posts a command and wakes the handle.
    pub(super) fn post(&self, command: C) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.push(command);
        self.version.fetch_add(1, Ordering::Release);
        drop(commands);
        // A handle that sleeps in spite of the new version has looked at it before this; the token wakes it. `fence`
        // in `has_news_after_commit` is the partner of this one: see there.
        fence(Ordering::SeqCst);
        self.bell.ring();
    }

    /// Posts a command in place of those that it makes void.
    pub(super) fn post_instead_of(&self, is_void: impl Fn(&C) -> bool, command: C) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.retain(|other| !is_void(other));
        drop(commands);
        self.post(command);
    }

    /// Takes back commands that are not taken yet and are void; whether there were some.
    pub(super) fn take_back(&self, is_void: impl Fn(&C) -> bool) -> bool {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let void: Vec<C> = commands
            .extract_if(.., |command| is_void(command))
            .collect();
        drop(commands);
        // Dropped without the lock: the end of a lane rings bells.
        !void.is_empty()
    }

    /// Whether there is such a command that was not taken yet.
    pub(super) fn has(&self, is_meant: impl Fn(&C) -> bool) -> bool {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.iter().any(is_meant)
    }

    /// Number of commands that were not taken yet.
    pub(super) fn len(&self) -> usize {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.len()
    }

    /// Whether something was posted since `seen`.
    #[inline]
    pub(super) fn has_news(&self, seen: u64) -> bool {
        self.version.load(Ordering::Acquire) != seen
    }

    /// Whether something was posted since `seen`, for a publisher that has committed to a lane whose subscriber it
    /// cannot wake yet. Either this sees the subscriber's answer, or the control thread, which rings the subscriber
    /// after posting it, does so when the commit is visible.
    pub(super) fn has_news_after_commit(&self, seen: u64) -> bool {
        // Keeps the commit before it and the load behind it apart; partner: the fence in `post`.
        fence(Ordering::SeqCst);
        self.version.load(Ordering::Relaxed) != seen
    }

    /// Takes all commands; `seen` becomes the version that they bring the handle to.
    pub(super) fn take(&self, seen: &mut u64) -> Vec<C> {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: the lock orders it.
        *seen = self.version.load(Ordering::Relaxed);
        std::mem::take(&mut *commands)
    }

    /// A bell for peers of the handle.
    pub(super) fn bell(&self) -> &BellSender {
        &self.bell
    }
}
