//! The relay beside a client: it is to that client what a broker on this host would be.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use crate::link::Descriptor;
use crate::ring::Ending;
use crate::segment::{Kind, Segment, SegmentHandle, SegmentOptions};
use crate::sync::Ordering;
use crate::wire::{
    HandleId, LaneId, LaneRefusal, Medium, RouteChange, SegmentSource, ToBroker, ToClient, Welcome,
    reason,
};

use super::FarError;
use super::end::{End, Routed, Ways, news_above};
use super::halves::{PeerHalf, SinkPlan};
use super::packet::Sizes;

/// The relay beside a client.
#[derive(Default)]
pub struct ClientEnd {
    /// The route-epoch word, which the client believes to be the broker's; from the welcome on.
    epochs: Option<Segment>,
    /// The epoch up to which routes are on their way to the client, if the broker does not know yet.
    epoch: Option<u64>,
    routed: Routed,
    /// Longest message of each publisher, in bytes.
    publishers: HashMap<HandleId, u64>,
}

impl End for ClientEnd {
    type Near = ToBroker;
    type Far = ToClient;

    fn near(&mut self, frame: ToBroker, descriptors: Vec<OwnedFd>, ways: &mut Ways<'_, Self>) {
        match frame {
            // Between the client and this relay only.
            ToBroker::Received => return,
            ToBroker::OpenPublisher {
                publisher,
                ref spec,
                ..
            } => {
                self.publishers.insert(publisher, spec.max_message_bytes);
            }
            ToBroker::ClosePublisher { publisher } => {
                self.publishers.remove(&publisher);
                // Before the news that it has closed: that makes its subscribers look for the last time.
                for lane in self.routed.close(publisher) {
                    ways.lanes.pump_all_of(lane, ways.far);
                    ways.lanes.end_shared(lane, ways.far);
                }
            }
            // As above.
            ToBroker::LaneClosed { lane } => ways.lanes.pump_all_of(lane, ways.far),
            ToBroker::OfferLane {
                lane,
                medium,
                segment,
                history,
                ..
            } => {
                let has_history = history.is_some();
                let half = PeerHalf::of(segment, history, descriptors);
                return self.offer((lane, medium, has_history), half, ways);
            }
            ToBroker::AcceptLane {
                lane,
                segment,
                area,
            } => return accept(lane, segment, area, descriptors, ways),
            ToBroker::RefuseLane { lane, ref reason } => match reason {
                LaneRefusal::Subscriber(_) => ways.lanes.remove_sink(lane, Ending::Closed),
                // Its ring, if there is one, is closed behind the last message.
                LaneRefusal::Ring(_)
                | LaneRefusal::Cursor(_)
                | LaneRefusal::TransportLost
                | LaneRefusal::Overflow => {
                    self.routed.remove(lane);
                }
            },
            _ => {}
        }
        ways.send_far(&frame);
    }

    fn far(
        &mut self,
        frame: ToClient,
        sizes: Sizes,
        ways: &mut Ways<'_, Self>,
    ) -> Result<(), FarError> {
        match frame {
            ToClient::Welcome(welcome) => return self.welcome(welcome, ways),
            ToClient::Routes { epoch, ref changes } => {
                // Their writers end with them, and say so in their memory if it is theirs alone.
                for change in changes {
                    if let RouteChange::Remove { lane, .. } = change {
                        ways.lanes.end_shared(*lane, ways.far);
                    }
                }
                self.routed.change(changes);
                self.epoch = Some(epoch);
            }
            ToClient::LaneOffered { .. } => {
                offered(frame, sizes, ways);
                return Ok(());
            }
            ToClient::LaneAccepted { lane, .. } => {
                accepted(lane, ways);
                return Ok(());
            }
            ToClient::LaneEnded { lane, .. } => ways.release(lane),
            _ => {}
        }
        ways.send_near(frame, Vec::new());
        Ok(())
    }

    /// The rings of its subscribers say it.
    fn lost(&mut self, _: &mut Ways<'_, Self>) {}

    /// The client ends the lanes of its publishers with the link, and counts what nobody has confirmed; one that found its
    /// lane left before would take it for a subscriber that has gone.
    fn parting(&mut self, ways: &mut Ways<'_, Self>) {
        ways.lanes.forget_sources();
    }

    /// The client's word is raised behind the routes, then the broker is told: whoever subscribed may rely on it.
    fn sent_near(&mut self, ways: &mut Ways<'_, Self>) {
        let Some(epoch) = self.epoch.take() else {
            return;
        };
        if let Some(epochs) = &self.epochs {
            // Release: as the broker does.
            epochs.word(0).store(epoch, Ordering::Release);
        }
        ways.send_far(&ToBroker::RoutesSeen { epoch });
    }
}

impl ClientEnd {
    fn welcome(&mut self, mut welcome: Welcome, ways: &mut Ways<'_, Self>) -> Result<(), FarError> {
        let epochs = Segment::create(Kind::Epochs, 8, &SegmentOptions::default())
            .map_err(FarError::Segment)?;
        let descriptors = match epochs.handle().map_err(FarError::Segment)? {
            SegmentHandle::Descriptor(descriptor) => vec![Descriptor::new(descriptor)],
            SegmentHandle::Named(_) => Vec::new(),
        };
        self.epochs = Some(epochs);
        welcome.epoch_index = 0;
        welcome.epochs = SegmentSource::Descriptor;
        ways.send_near(ToClient::Welcome(welcome), descriptors);
        Ok(())
    }

    /// The half of a publisher of this client.
    fn offer(
        &mut self,
        (lane, medium, has_history): (LaneId, Medium, bool),
        half: Option<(Option<Descriptor>, PeerHalf)>,
        ways: &mut Ways<'_, Self>,
    ) {
        let added = match half {
            Some((None, half)) => ways.lanes.add_source(lane, medium, half, None),
            _ => Err("the offer has other descriptors than it must have".into()),
        };
        match added {
            Ok(mut sizes) => {
                let publisher = self.routed.publisher(lane);
                let longest = publisher.and_then(|publisher| self.publishers.get(&publisher));
                sizes.news_above = longest.map_or(0, |longest| news_above(sizes.bytes, *longest));
                let frame = ToBroker::OfferLane {
                    lane,
                    medium,
                    segment: SegmentSource::Descriptor,
                    history: has_history.then_some(SegmentSource::Descriptor),
                    courier: false,
                    begin: None,
                };
                ways.send_far_offer(&frame, sizes);
            }
            Err(reason) => {
                tracing::warn!(lane, reason, "a lane to another host is not made");
                let reason = LaneRefusal::Ring(reason);
                ways.send_far(&ToBroker::RefuseLane { lane, reason });
            }
        }
    }
}

/// A subscriber of this client has mapped the ring.
fn accept(
    lane: LaneId,
    segment: SegmentSource,
    area: u32,
    descriptors: Vec<OwnedFd>,
    ways: &mut Ways<'_, ClientEnd>,
) {
    let half = PeerHalf::of(segment, None, descriptors);
    let attached = match half {
        Some((None, half)) => ways.lanes.attach_sink(lane, half, area),
        _ => Err("the answer has other descriptors than it must have".into()),
    };
    let frame = match attached {
        Ok(()) => ToBroker::AcceptLane {
            lane,
            segment: SegmentSource::Descriptor,
            area: 0,
        },
        Err(reason) => {
            ways.lanes.remove_sink(lane, Ending::TransportLost);
            let reason = LaneRefusal::Subscriber(reason);
            ToBroker::RefuseLane { lane, reason }
        }
    };
    ways.send_far(&frame);
}

/// The half of a publisher elsewhere: one is made here for the client's subscriber.
fn offered(mut frame: ToClient, sizes: Sizes, ways: &mut Ways<'_, ClientEnd>) {
    let ToClient::LaneOffered {
        lane,
        subscriber,
        ref publisher_name,
        medium,
        ref mut segment,
        ref mut history,
        ref mut courier,
        ref mut begin,
        ..
    } = frame
    else {
        return;
    };
    (*courier, *begin) = (false, None);
    let plan = SinkPlan::new(medium, history.is_some(), sizes);
    match plan.and_then(|plan| ways.lanes.add_sink(lane, &plan)) {
        Ok(half) => {
            *segment = half.segment;
            *history = half.history;
            let descriptors = std::iter::once(half.process)
                .chain(half.descriptors)
                .collect();
            ways.send_near_offer((lane, medium), frame, descriptors);
        }
        Err(reason) => {
            let refusal = LaneRefusal::Subscriber(reason.clone());
            let ended = ToClient::LaneEnded {
                lane,
                subscriber,
                publisher_name: publisher_name.clone(),
                refusal: Some(refusal.clone()),
            };
            ways.send_near(ended, Vec::new());
            ways.send_far(&ToBroker::RefuseLane {
                lane,
                reason: refusal,
            });
        }
    }
}

/// The subscriber of an own publisher has mapped the far ring: from now on its cursor is shown here.
fn accepted(lane: LaneId, ways: &mut Ways<'_, ClientEnd>) {
    match ways.lanes.accept_source(lane) {
        Some(Ok((half, area))) => {
            let frame = ToClient::LaneAccepted {
                lane,
                segment: half.segment,
                area,
            };
            let descriptors = std::iter::once(half.process)
                .chain(half.descriptors)
                .collect();
            ways.send_near(frame, descriptors);
        }
        Some(Err(error)) => {
            ways.lanes.end_source(lane, ways.far);
            let reason = LaneRefusal::Cursor(reason(&error));
            ways.send_far(&ToBroker::RefuseLane { lane, reason });
        }
        None => {}
    }
}
