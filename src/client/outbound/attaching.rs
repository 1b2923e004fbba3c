//! Publishing a message with something attached.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use slab::Slab;

use crate::lane::{Attached, MOST_REGIONS, SharedRegion};
use crate::message::{EncodeError, Message};

use super::{Delivery, OutLane, Outbound, Patience, PublishError, To, Way};

impl Outbound {
    /// Publishes a message with these attached.
    pub(in crate::client) fn publish_attached<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        descriptors: Vec<OwnedFd>,
        regions: Vec<SharedRegion>,
    ) -> Result<Delivery, PublishError> {
        if self.mark.is_forked() {
            return Err(PublishError::Forked);
        }
        self.sync();
        self.serve_waiting(Patience::Policy);
        if regions.len() > MOST_REGIONS {
            return Err(PublishError::TooManyRegions {
                count: regions.len(),
                limit: MOST_REGIONS,
            });
        }
        let attached = Attached::new(self.next_parcel, descriptors, regions);
        self.next_parcel = attached.next();
        self.attached = Some(Arc::new(attached));
        let delivery = self.serve(id, message, Patience::Policy, To::Rest(0), Way::Any);
        self.attached = None;
        // Those who have not written it, of a queue group or on an error, do not keep it for another message.
        for (_, lane) in &mut self.lanes {
            lane.writer.attach_to_next(None);
        }
        delivery
    }
}

/// Attaches this to the next message of these lanes; `copies` is somebody who takes the topic, too, but nothing attached. `limit`
/// is that of a message together with regions where those are copied.
pub(super) fn attach_to_next<'a>(
    attached: &Arc<Attached>,
    lanes: &mut Slab<OutLane>,
    keys: impl Iterator<Item = &'a usize> + Clone,
    copies: Option<&str>,
    message_bytes: impl FnOnce() -> Result<usize, EncodeError>,
    (copied_up_to, limit): (usize, usize),
) -> Result<(), PublishError> {
    let mut ours = keys.clone();
    let copied = ours.find_map(|key| lanes[*key].writer.cannot_take_attachments());
    if let Some(receiver) = copied.filter(|_| attached.has_descriptors()).or(copies) {
        let receiver = receiver.to_owned();
        return Err(PublishError::CannotAttach { receiver });
    }
    if !attached.regions().is_empty() {
        let message = message_bytes()?;
        // A long message lies elsewhere where regions need not be copied.
        let (len, in_ring) = match copied {
            Some(_) => (attached.copied_bytes(), message),
            None => (attached.extra_bytes(), message.min(copied_up_to)),
        };
        if len + in_ring > limit {
            return Err(PublishError::TooMuchAttached {
                receiver: copied.map(str::to_owned),
                len: len + message,
                limit,
            });
        }
    }
    for key in keys {
        let writer = &mut lanes[*key].writer;
        writer.attach_to_next(Some(attached.clone()));
    }
    Ok(())
}
