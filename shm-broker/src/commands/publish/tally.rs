//! What became of messages that were published.

use ringmain::message::Bytes;
use ringmain::{Closed, PublishError, Publisher, Topic};

use crate::ending::{Ending, Failure, say};

/// What became of the messages.
#[derive(Debug, Default)]
pub struct Tally {
    /// The only one who is to get them.
    receiver: Option<String>,
    pub messages: u64,
    /// Nobody took them.
    unheard: u64,
    dropped: u64,
    /// Not published, for they would have had to wait.
    refused: u64,
    route_unknown: u64,
}

impl Tally {
    /// Nothing yet; `receiver` is the name of the client that is to get them, if they are not for all.
    pub fn new(receiver: Option<String>) -> Self {
        Self {
            receiver,
            ..Self::default()
        }
    }

    /// Publishes a message.
    pub fn publish(
        &mut self,
        publisher: &mut Publisher<Bytes>,
        topic: &Topic,
        message: &[u8],
    ) -> Result<(), Failure> {
        let message = Bytes::new(message);
        let published = match &self.receiver {
            None => publisher.publish(topic.as_str(), message),
            Some(receiver) => publisher
                .resolve(topic.as_str())
                .and_then(|topic| publisher.publish_to_one(&topic, receiver, message)),
        };
        self.messages += 1;
        match published {
            Ok(delivery) => {
                self.unheard += u64::from(delivery.lanes + delivery.dropped == 0);
                self.dropped += u64::from(delivery.dropped);
                self.route_unknown += u64::from(delivery.route_unknown);
            }
            Err(PublishError::NoReceiver { .. }) => self.unheard += 1,
            Err(PublishError::WouldBlock) => self.refused += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Says what went wrong; `mismatches` tells more about why nobody listens.
    pub fn report(&self, topic: &Topic, mismatches: impl FnOnce() -> String) {
        if self.unheard > 0 {
            let (unheard, messages) = (self.unheard, self.messages);
            let why = match &self.receiver {
                None => format!("nobody listens to {topic}"),
                Some(receiver) => format!("no client named {receiver} takes {topic}"),
            };
            say(format_args!(
                "{why}: {unheard} of {messages} messages went to nobody{}",
                mismatches()
            ));
        }
        if self.dropped > 0 {
            say(format_args!(
                "{} messages were dropped: a subscriber had no room",
                self.dropped
            ));
        }
        if self.refused > 0 {
            say(format_args!(
                "{} of {} messages were not published: a subscriber with the policy block had no room",
                self.refused, self.messages
            ));
        }
        if self.route_unknown > 0 {
            say(format_args!(
                "the broker did not answer: subscribers that are new may have missed {} messages",
                self.route_unknown
            ));
        }
    }

    /// Says what nobody has read.
    pub fn report_unread(&self, closed: &Closed) {
        for lane in closed.lanes.iter().filter(|lane| lane.unread > 0) {
            say(match lane.has_ended {
                true => format!(
                    "{} is gone, and has not told to have read its last {} messages",
                    lane.subscriber, lane.unread
                ),
                false => format!(
                    "{} has not read its last {} messages yet: it still can while it lives",
                    lane.subscriber, lane.unread
                ),
            });
        }
        if closed.unlisted > 0 {
            say(format_args!(
                "others are gone, too, and have not told to have read {} messages",
                closed.unlisted
            ));
        }
    }

    /// How the command ends; `closed` tells what had to be read.
    pub fn ending(&self, closed: Option<&Closed>) -> Ending {
        let unread = closed.is_some_and(|closed| !closed.is_complete());
        match self {
            Self { dropped: 1.., .. } => Ending::Gaps,
            Self { refused: 1.., .. } => Ending::Undelivered,
            _ if unread => Ending::Undelivered,
            Self {
                receiver: Some(_),
                unheard: 1..,
                ..
            } => Ending::No,
            _ => Ending::Done,
        }
    }
}
