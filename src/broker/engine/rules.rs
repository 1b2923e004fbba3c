//! Which publishers get a lane to which subscribers.

use super::registry::{Handle, Owner, Publisher, Subscriber};
use crate::message::MessageType;
use crate::topic::Pattern;
use crate::wire::{HistoryUse, Overflow, Refusal};

/// What becomes of a publisher with a subscriber whose names meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A lane.
    Joined,
    /// The types differ: no lane, and somebody should know.
    Mismatched,
    /// No lane, and none is wanted.
    Apart,
}

pub(super) fn judge(publisher: (Handle, &Publisher), subscriber: (Handle, &Subscriber)) -> Verdict {
    if publisher.0.session == subscriber.0.session && !subscriber.1.self_delivery {
        return Verdict::Apart;
    }
    let topic = &publisher.1.topic;
    let excluded = |exclude: &Pattern| exclude.includes(topic);
    if subscriber.1.excludes.iter().any(excluded) {
        return Verdict::Apart;
    }
    if subscriber.1.history == HistoryUse::Only && publisher.1.spec.history == 0 {
        return Verdict::Apart;
    }
    match &subscriber.1.message_type {
        Some(wanted) if *wanted != publisher.1.spec.message_type => Verdict::Mismatched,
        _ => Verdict::Joined,
    }
}

/// Whether both name one and the same topic, without wildcards: then their types cannot both be meant.
pub(super) fn same_single_topic(publisher: &Publisher, subscriber: &Subscriber) -> bool {
    let topic = &publisher.topic;
    topic.is_concrete()
        && subscriber
            .patterns
            .iter()
            .any(|pattern| pattern.as_str() == topic.as_str())
}

/// Refuses a subscriber whose policy the publisher does not accept.
pub(super) fn check_overflow(
    publisher: &Publisher,
    subscriber: &Subscriber,
) -> Result<(), Refusal> {
    match (subscriber.overflow, publisher.spec.block_cap) {
        (Overflow::Block { deadline }, Some(cap)) if deadline > cap => Err(Refusal::BlockCap {
            topic: publisher.topic.to_string(),
            client: publisher.owner.name.to_string(),
            cap,
            deadline,
        }),
        (Overflow::Conflate, _) if !publisher.spec.conflates => Err(Refusal::NotConflated {
            topic: publisher.topic.to_string(),
            client: publisher.owner.name.to_string(),
            message_type: publisher.spec.message_type.to_string(),
        }),
        _ => Ok(()),
    }
}

/// The refusal of a publisher because of a subscriber that is open.
pub(super) fn mismatch_for_publisher(publisher: &Publisher, subscriber: &Subscriber) -> Refusal {
    let (ours, theirs) = (
        Some(&publisher.spec.message_type),
        subscriber.message_type.as_ref(),
    );
    mismatch(publisher, &subscriber.owner, ours, theirs)
}

/// The refusal of a subscriber because of a publisher that is open.
pub(super) fn mismatch_for_subscriber(publisher: &Publisher, subscriber: &Subscriber) -> Refusal {
    let (ours, theirs) = (
        subscriber.message_type.as_ref(),
        Some(&publisher.spec.message_type),
    );
    mismatch(publisher, &publisher.owner, ours, theirs)
}

/// The first difference between two types, in the words of the first.
pub(super) fn difference(here: Option<&MessageType>, there: Option<&MessageType>) -> String {
    let difference = here
        .zip(there)
        .and_then(|(here, there)| here.difference(there));
    difference
        .map(|difference| difference.to_string())
        .unwrap_or_default()
}

fn mismatch(
    publisher: &Publisher,
    other: &Owner,
    ours: Option<&MessageType>,
    theirs: Option<&MessageType>,
) -> Refusal {
    let label = |message_type: Option<&MessageType>| {
        message_type.map(ToString::to_string).unwrap_or_default()
    };
    Refusal::TypeMismatch {
        topic: publisher.topic.to_string(),
        client: other.name.to_string(),
        theirs: label(theirs),
        ours: label(ours),
        difference: difference(ours, theirs),
    }
}
