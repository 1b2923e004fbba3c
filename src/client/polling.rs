//! Giving messages to a closure, many in one call.
//!
//! What [`Subscriber::try_recv`] looks at for each message is looked at once for a *run*: messages of one lane that stand ready
//! one behind the other. They are counted, and the memory given back, when the run ends. Whatever is no such message ends it, and is
//! left to `try_recv`.

use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::time::Duration;

use super::error::RecvError;
use super::inbound::InLane;
use super::sample::{self, Sample};
use super::subscriber::{Receive, Subscriber};

impl<T: Receive + ?Sized> Subscriber<T> {
    /// Gives messages that are there to `take`, one after the other, `limit` at most; tells how many. Never waits. If it
    /// gives less than `limit`, there was nothing more.
    ///
    /// Messages, gaps and errors come in the order in which [`try_recv`](Self::try_recv) gives them, for a fraction of what
    /// that costs when many messages are there. A gap or an error behind messages ends the call; the next one tells it.
    ///
    /// A message is given back when `take` returns; its publisher may see that, and tools may see it counted, up to 64
    /// messages later. If `take` panics, the message that it had counts as received, like a [`Sample`] that is dropped by a
    /// panic: those before it do not come again, those behind it are given by the next call.
    ///
    /// ```no_run
    /// use ringmain::{Client, RecvError, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut subscriber = client.subscriber::<Bytes>("log/**").open()?;
    /// let mut bytes = 0;
    /// match subscriber.poll(1000, |sample| bytes += sample.len()) {
    ///     Ok(messages) => println!("{messages} messages, {bytes} bytes"),
    ///     Err(RecvError::Gap(gap)) => eprintln!("{gap}"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Subscriber::recv`]; no message was given then.
    #[inline]
    pub fn poll(
        &mut self,
        limit: usize,
        take: impl FnMut(&Sample<'_, T>),
    ) -> Result<usize, RecvError> {
        self.give(limit, None, take)
    }

    /// As [`poll`](Self::poll), but if nothing is there it waits for a message, as [`recv_timeout`](Self::recv_timeout) does;
    /// [`Duration::MAX`] is without end. 0 when `timeout` is over.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut subscriber = client.subscriber::<Bytes>("log/**").open()?;
    /// loop {
    ///     subscriber.poll_timeout(1000, Duration::MAX, |sample| println!("{}", sample.topic()))?;
    /// }
    /// # #[expect(unreachable_code)]
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Subscriber::recv`]; no message was given then.
    #[inline]
    pub fn poll_timeout(
        &mut self,
        limit: usize,
        timeout: Duration,
        take: impl FnMut(&Sample<'_, T>),
    ) -> Result<usize, RecvError> {
        self.give(limit, Some(timeout), take)
    }

    #[inline]
    fn give(
        &mut self,
        limit: usize,
        timeout: Option<Duration>,
        mut take: impl FnMut(&Sample<'_, T>),
    ) -> Result<usize, RecvError> {
        let mut given = 0;
        let mut may_linger = true;
        while given < limit {
            let run = self.give_run(limit - given, &mut take);
            given += run;
            if run > 0 {
                continue;
            }
            let patience = timeout.filter(|_| given == 0);
            if patience.is_some() && mem::take(&mut may_linger) && self.inbound_mut().linger() {
                continue;
            }
            let error = match self.receive(patience) {
                Ok(Some(sample)) => {
                    take(&sample);
                    given += 1;
                    continue;
                }
                Ok(None) => break,
                Err(error) => error,
            };
            if given == 0 {
                return Err(error);
            }
            self.inbound_mut().tell_next(error);
            break;
        }
        Ok(given)
    }

    #[inline(never)]
    fn receive(&mut self, timeout: Option<Duration>) -> Result<Option<Sample<'_, T>>, RecvError> {
        match timeout {
            Some(timeout) => self.recv_timeout(timeout),
            None => self.try_recv(),
        }
    }

    /// Gives messages of the lane whose turn it is.
    #[inline(always)]
    fn give_run(&mut self, limit: usize, take: &mut impl FnMut(&Sample<'_, T>)) -> usize {
        let Some((lane, most)) = self.inbound_mut().begin_run() else {
            return 0;
        };
        let most = limit.min(most as usize) as u32;
        let run = Run {
            lane,
            most,
            left: most,
            len_bytes: 0,
            message: PhantomData,
        };
        let given = run.give(take);
        self.inbound_mut().end_run(given);
        given as usize
    }
}

/// Messages of one lane, given one behind the other.
struct Run<'a, T: Receive + ?Sized> {
    lane: &'a mut InLane,
    most: u32,
    /// How many of these may still be given.
    left: u32,
    /// Of those that were passed, where that is not the same for each.
    len_bytes: usize,
    message: PhantomData<fn() -> Box<T>>,
}

impl<T: Receive + ?Sized> Run<'_, T> {
    /// Gives them; tells how many.
    #[inline(always)]
    fn give(mut self, take: &mut impl FnMut(&Sample<'_, T>)) -> u32 {
        let mark = self.lane.mark();
        let mut is_due = false;
        let mut next = sample::ready::<T>(self.lane);
        while let Some(checked) = next {
            take(&ManuallyDrop::new(Sample::new(self.lane, checked)));
            is_due = self.pass();
            // A child that was forked in between must not read on: its parent gives the memory back.
            if is_due || self.left == 0 || mark.is_forked() {
                break;
            }
            next = sample::next::<T>(self.lane);
        }
        let given = self.end(is_due);
        mem::forget(self);
        given
    }

    /// Goes on behind the message that was given. Whether what was passed is to be given back now.
    #[inline(always)]
    fn pass(&mut self) -> bool {
        if T::ENCODED_LEN.is_none() {
            self.len_bytes += self.lane.reader().len_in_ring().unwrap_or_default();
        }
        self.left -= 1;
        self.lane.reader_mut().pass(T::ENCODED_LEN)
    }

    #[inline(always)]
    fn end(&mut self, is_due: bool) -> u32 {
        let given = self.most - self.left;
        if given > 0 {
            let len_bytes = T::ENCODED_LEN.map_or(self.len_bytes, |len| len * given as usize);
            self.lane.end_run(u64::from(given), len_bytes, is_due);
        }
        given
    }
}

impl<T: Receive + ?Sized> Drop for Run<'_, T> {
    /// The closure has panicked. It had the message.
    #[inline(always)]
    fn drop(&mut self) {
        let is_due = self.pass();
        self.end(is_due);
    }
}
