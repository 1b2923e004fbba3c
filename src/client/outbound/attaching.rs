//! Publishing a message with something attached.

use std::sync::Arc;

use slab::Slab;

use crate::lane::Attached;
use crate::message::Message;

use super::{Delivery, OutLane, Outbound, Patience, PublishError, To, Way};

impl Outbound {
    /// Publishes a message with this attached.
    pub(in crate::client) fn publish_attached<T: Message + ?Sized>(
        &mut self,
        id: u32,
        message: &T,
        attach: impl FnOnce(u64) -> Result<Attached, PublishError>,
    ) -> Result<Delivery, PublishError> {
        if self.mark.is_forked() {
            return Err(PublishError::Forked);
        }
        self.sync();
        self.serve_waiting(Patience::Policy);
        let attached = attach(self.next_parcel)?;
        self.next_parcel = attached.next();
        self.attached = Some(Arc::new(attached));
        let delivery = self.serve(id, message, Patience::Policy, To::Rest(0), Way::Any);
        self.attached = None;
        if delivery.is_err() {
            for (_, lane) in &mut self.lanes {
                lane.writer.attach_to_next(None);
            }
        }
        delivery
    }
}

/// Attaches this to the next message of these lanes; `copies` is somebody who takes the topic, too, but nothing attached.
pub(super) fn attach_to_next<'a>(
    attached: &Arc<Attached>,
    lanes: &mut Slab<OutLane>,
    keys: impl Iterator<Item = &'a usize> + Clone,
    copies: Option<&str>,
) -> Result<(), PublishError> {
    let mut ours = keys.clone();
    let cannot = ours.find_map(|key| lanes[*key].writer.cannot_take_attachments());
    let cannot = cannot.or(copies);
    if let Some(receiver) = cannot {
        let receiver = receiver.to_owned();
        return Err(PublishError::CannotAttach { receiver });
    }
    for key in keys {
        let writer = &mut lanes[*key].writer;
        writer.attach_to_next(Some(attached.clone()));
    }
    Ok(())
}
