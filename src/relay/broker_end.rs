//! The relay beside a broker: an ordinary local client of it, on behalf of one on another host.

use std::os::fd::OwnedFd;

use crate::ring::Ending;
use crate::wire::{LaneId, LaneRefusal, Medium, SegmentSource, ToBroker, ToClient, reason};

use super::FarError;
use super::end::{End, Routed, Ways, news_above};
use super::halves::{PeerHalf, SinkPlan};
use super::packet::Sizes;

/// The relay beside a broker.
#[derive(Default)]
pub struct BrokerEnd {
    routed: Routed,
}

impl End for BrokerEnd {
    type Near = ToClient;
    type Far = ToBroker;

    fn near(&mut self, frame: ToClient, descriptors: Vec<OwnedFd>, ways: &mut Ways<'_, Self>) {
        match frame {
            // A lane without a route is still read to its end, which its publisher's side states.
            ToClient::Routes { ref changes, .. } => self.routed.change(changes),
            ToClient::LaneOffered { .. } => return offered(frame, descriptors, ways),
            ToClient::LaneEnded { lane, .. } => ways.lanes.end_shared(lane, ways.far),
            ToClient::LaneAccepted {
                lane,
                segment,
                area,
            } => return accepted(lane, segment, area, descriptors, ways),
            _ => {}
        }
        ways.send_far(&frame);
    }

    fn far(
        &mut self,
        frame: ToBroker,
        sizes: Sizes,
        ways: &mut Ways<'_, Self>,
    ) -> Result<(), FarError> {
        match frame {
            // This relay says that to the broker.
            ToBroker::Received => return Ok(()),
            ToBroker::ClosePublisher { publisher } => {
                self.routed.close(publisher);
            }
            ToBroker::OfferLane {
                lane,
                medium,
                history,
                ..
            } => {
                let plan = SinkPlan::new(medium, history.is_some(), sizes);
                self.offer(lane, medium, plan, ways);
                return Ok(());
            }
            ToBroker::AcceptLane { lane, .. } => {
                accept(lane, ways);
                return Ok(());
            }
            ToBroker::RefuseLane { lane, ref reason } => match reason {
                LaneRefusal::Subscriber(_) => ways.lanes.remove_source(lane),
                LaneRefusal::Ring(_)
                | LaneRefusal::Cursor(_)
                | LaneRefusal::TransportLost
                | LaneRefusal::Overflow => {
                    ways.release(lane);
                    self.routed.remove(lane);
                }
            },
            _ => {}
        }
        ways.send_near(frame, Vec::new());
        Ok(())
    }

    /// A publisher there may have used a ring before it could be offered here.
    fn lost(&mut self, ways: &mut Ways<'_, Self>) {
        for lane in self.routed.not_offered() {
            let reason = LaneRefusal::TransportLost;
            ways.send_near(ToBroker::RefuseLane { lane, reason }, Vec::new());
        }
    }

    fn parting(&mut self, _: &mut Ways<'_, Self>) {}

    fn sent_near(&mut self, _: &mut Ways<'_, Self>) {}
}

impl BrokerEnd {
    /// A publisher on the other host has a lane: one is made here for the subscriber.
    fn offer(
        &mut self,
        lane: LaneId,
        medium: Medium,
        plan: Result<SinkPlan, String>,
        ways: &mut Ways<'_, Self>,
    ) {
        // One that has ended, which the other host does not know yet, or that never was.
        if self.routed.publisher(lane).is_none() {
            return;
        }
        self.routed.set_offered(lane);
        match plan.and_then(|plan| ways.lanes.add_sink(lane, &plan)) {
            Ok(half) => {
                let frame = ToBroker::OfferLane {
                    lane,
                    medium,
                    segment: half.segment,
                    history: half.history,
                    courier: false,
                    begin: None,
                };
                ways.send_near_offer((lane, medium), frame, half.descriptors);
            }
            Err(reason) => {
                let reason = LaneRefusal::Ring(reason);
                ways.send_near(ToBroker::RefuseLane { lane, reason }, Vec::new());
            }
        }
    }
}

/// A publisher of this host has a lane for a subscriber on the other one.
fn offered(mut frame: ToClient, descriptors: Vec<OwnedFd>, ways: &mut Ways<'_, BrokerEnd>) {
    let ToClient::LaneOffered {
        lane,
        subscriber,
        ref publisher_name,
        ref publisher,
        medium,
        ref mut segment,
        ref mut history,
        begin,
        ..
    } = frame
    else {
        return;
    };
    ways.send_near(ToBroker::Received, Vec::new());
    let source = std::mem::replace(segment, SegmentSource::Descriptor);
    let kept = history.as_mut();
    let kept = kept.map(|kept| std::mem::replace(kept, SegmentSource::Descriptor));
    let added = match PeerHalf::of(source, kept, descriptors) {
        Some((process, half)) if begin.is_none() => {
            ways.lanes.add_source(lane, medium, half, process)
        }
        Some(_) => Err("memory that others share is not carried to another host".into()),
        None => Err("the offer has other descriptors than it must have".into()),
    };
    match added {
        Ok(mut sizes) => {
            sizes.news_above = news_above(sizes.bytes, publisher.max_message_bytes);
            ways.send_far_offer(&frame, sizes);
        }
        Err(reason) => {
            let refusal = LaneRefusal::Subscriber(reason);
            let ended = ToClient::LaneEnded {
                lane,
                subscriber,
                publisher_name: publisher_name.clone(),
                refusal: Some(refusal.clone()),
            };
            ways.send_far(&ended);
            ways.send_near(
                ToBroker::RefuseLane {
                    lane,
                    reason: refusal,
                },
                Vec::new(),
            );
        }
    }
}

/// A subscriber of this host has mapped the ring that is written here.
fn accepted(
    lane: LaneId,
    segment: SegmentSource,
    area: u32,
    descriptors: Vec<OwnedFd>,
    ways: &mut Ways<'_, BrokerEnd>,
) {
    ways.send_near(ToBroker::Received, Vec::new());
    let attached = match PeerHalf::of(segment, None, descriptors) {
        Some((_, half)) => ways.lanes.attach_sink(lane, half, area),
        None => Err("the answer has other descriptors than it must have".into()),
    };
    match attached {
        Ok(()) => ways.send_far(&ToClient::LaneAccepted {
            lane,
            segment: SegmentSource::Descriptor,
            area: 0,
        }),
        Err(reason) => {
            ways.lanes.remove_sink(lane, Ending::Closed);
            let reason = LaneRefusal::Cursor(reason);
            ways.send_near(ToBroker::RefuseLane { lane, reason }, Vec::new());
        }
    }
}

/// A subscriber on the other host has its ring: the publisher is shown its cursor.
fn accept(lane: LaneId, ways: &mut Ways<'_, BrokerEnd>) {
    match ways.lanes.accept_source(lane) {
        Some(Ok((half, area))) => {
            let segment = half.segment;
            let frame = ToBroker::AcceptLane {
                lane,
                segment,
                area,
            };
            ways.send_near(frame, half.descriptors);
        }
        Some(Err(error)) => {
            ways.lanes.remove_source(lane);
            let reason = LaneRefusal::Subscriber(reason(&error));
            ways.send_near(ToBroker::RefuseLane { lane, reason }, Vec::new());
        }
        None => {}
    }
}
