//! The descriptors that belong to a frame.

use crate::wire::{SegmentSource, ToClient, Welcome};

use super::effect::{PeerHalf, PeerSegment, ProtocolError};

/// The descriptors of a frame, their number checked, in order.
pub(super) struct Descriptors<D>(std::vec::IntoIter<D>);

impl<D> Descriptors<D> {
    pub(super) fn new(frame: &ToClient, found: Vec<D>) -> Result<Self, ProtocolError> {
        let needed = match frame {
            ToClient::Welcome(Welcome { epochs, .. }) => epochs.descriptors(),
            ToClient::LaneOffered {
                segment,
                history,
                courier,
                inherited,
                ..
            } => {
                let page = inherited
                    .as_ref()
                    .and_then(|inherited| inherited.page.as_ref());
                let more = history.iter().chain(page).map(SegmentSource::descriptors);
                2 + segment.descriptors() + usize::from(*courier) + more.sum::<usize>()
            }
            ToClient::LaneAccepted { segment, .. } => 2 + segment.descriptors(),
            _ => 0,
        };
        if found.len() != needed {
            return Err(ProtocolError::Descriptors {
                frame: frame_name(frame),
                found: found.len(),
                needed,
            });
        }
        Ok(Self(found.into_iter()))
    }

    pub(super) fn one(&mut self) -> D {
        self.0
            .next()
            .expect("the number was checked against the frame")
    }

    pub(super) fn segment(&mut self, source: SegmentSource) -> PeerSegment<D> {
        match source {
            SegmentSource::Descriptor => PeerSegment::Descriptor(self.one()),
            SegmentSource::Named(name) => PeerSegment::Named(name),
        }
    }

    pub(super) fn half(&mut self, source: SegmentSource) -> PeerHalf<D> {
        let process = self.one();
        let segment = self.segment(source);
        PeerHalf {
            process,
            segment,
            bell: self.one(),
        }
    }
}

/// A segment with the bell that follows it.
pub(super) fn split<D>(segment: PeerSegment<D>, bell: D) -> (SegmentSource, Vec<D>) {
    let (source, segment) = source(segment);
    (source, segment.into_iter().chain([bell]).collect())
}

/// A segment as a frame names it, its descriptor.
pub(super) fn source<D>(segment: PeerSegment<D>) -> (SegmentSource, Option<D>) {
    match segment {
        PeerSegment::Descriptor(descriptor) => (SegmentSource::Descriptor, Some(descriptor)),
        PeerSegment::Named(name) => (SegmentSource::Named(name), None),
    }
}

pub(super) fn frame_name(frame: &ToClient) -> &'static str {
    match frame {
        ToClient::Welcome(_) => "Welcome",
        ToClient::Opened { .. } => "Opened",
        ToClient::Refused { .. } => "Refused",
        ToClient::Routes { .. } => "Routes",
        ToClient::LaneOffered { .. } => "LaneOffered",
        ToClient::LaneAccepted { .. } => "LaneAccepted",
        ToClient::LaneEnded { .. } => "LaneEnded",
        ToClient::Pong { .. } => "Pong",
        ToClient::Listed { .. } => "Listed",
        ToClient::Clients { .. } => "Clients",
        ToClient::QueryTopics { .. } => "QueryTopics",
    }
}
