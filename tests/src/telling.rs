//! What a subscriber tells, in whatever way it is asked.

use std::time::Duration;

use ringmain::message::Message;
use ringmain::{RecvError, Sample, Subscriber, SubscriberEvent, rkyv};

use crate::{Tick, eventually};

/// What a test sends: with pointers, or without.
pub trait Numbered: Message + Sized {
    /// Message `number`.
    fn numbered(number: u64) -> Self;
    /// The number, after everything else was checked against it.
    fn number(view: &Self::View) -> u64;
}

impl Numbered for Tick {
    fn numbered(number: u64) -> Self {
        Self::new(number)
    }

    fn number(view: &Self::View) -> u64 {
        view.checked()
    }
}

/// A message without pointers.
#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message, Debug)]
#[message(name = "test.flat")]
pub struct Flat {
    words: [u64; 5],
}

impl Numbered for Flat {
    fn numbered(number: u64) -> Self {
        Self { words: [number; 5] }
    }

    fn number(view: &Self::View) -> u64 {
        let words = view.words.iter().map(|word| word.to_native());
        assert_eq!(words.clone().min(), words.clone().max());
        words.min().unwrap()
    }
}

/// One thing that a subscriber tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A message.
    #[expect(missing_docs, reason = "named as in `Sample`")]
    Message {
        number: u64,
        topic: String,
        sequence: u64,
        is_stamped: bool,
        is_snapshot: bool,
    },
    /// `lost` messages are missing, from number `first` on.
    #[expect(missing_docs, reason = "see above")]
    Gap { first: u64, lost: u64 },
    /// The message with this number does not decode.
    #[expect(missing_docs, reason = "see above")]
    Undecodable { sequence: u64 },
    /// The publisher is gone.
    Gone,
}

/// What a sample tells.
pub fn told<T: Numbered>(sample: &Sample<'_, T>) -> Told {
    Told::Message {
        number: T::number(sample),
        topic: sample.topic().to_string(),
        sequence: sample.sequence(),
        is_stamped: sample.published_at().is_some(),
        is_snapshot: sample.is_snapshot(),
    }
}

/// What an error tells.
pub fn told_error(error: RecvError) -> Told {
    match error {
        RecvError::Gap(gap) => Told::Gap {
            first: gap.first_sequence,
            lost: gap.lost,
        },
        RecvError::Undecodable { sequence, .. } => Told::Undecodable { sequence },
        RecvError::Event(SubscriberEvent::PublisherGone { .. }) => Told::Gone,
        error => panic!("{error}"),
    }
}

/// How a subscriber is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By `try_recv`.
    OneByOne,
    /// So many at a time.
    Polling(usize),
    /// The same, waiting.
    Waiting(usize),
}

/// All ways.
pub const WAYS: [How; 5] = [
    How::OneByOne,
    How::Polling(1),
    How::Polling(7),
    How::Polling(usize::MAX),
    How::Waiting(100),
];

/// Takes what there is, until `is_all` says that it is all.
pub fn take<T: Numbered>(
    subscriber: &mut Subscriber<T>,
    how: How,
    is_all: impl Fn(&[Told]) -> bool,
) -> Vec<Told> {
    let mut all = Vec::new();
    eventually("everything is told", || {
        let before = all.len();
        let (limit, polled) = match how {
            How::OneByOne => match subscriber.try_recv() {
                Ok(sample) => {
                    all.extend(sample.map(|sample| told(&sample)));
                    (1, Ok(all.len() - before))
                }
                Err(error) => (1, Err(error)),
            },
            How::Polling(limit) => {
                let polled = subscriber.poll(limit, |sample| all.push(told(sample)));
                (limit, polled)
            }
            How::Waiting(limit) => {
                let patience = Duration::from_millis(10);
                let take = |sample: &Sample<'_, T>| all.push(told(sample));
                (limit, subscriber.poll_timeout(limit, patience, take))
            }
        };
        match polled {
            Ok(given) => assert!(given <= limit && all.len() == before + given),
            Err(error) => {
                assert_eq!(all.len(), before, "an error comes alone");
                all.push(told_error(error));
            }
        }
        is_all(&all)
    });
    // Whoever finds nothing tells how far it has read, so that there is as much room for all.
    assert!(subscriber.try_recv().unwrap().is_none());
    all
}

/// The number of what comes behind the last thing told of the first publisher's.
pub fn end(told: &[Told]) -> u64 {
    let ends = told.iter().map(|told| match told {
        Told::Message { sequence, .. } | Told::Undecodable { sequence } => sequence + 1,
        Told::Gap { first, lost } => first + lost,
        Told::Gone => 0,
    });
    ends.max().unwrap_or(0)
}
