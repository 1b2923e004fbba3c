//! Publishing to one named subscriber.

use crate::lane::Member;
use crate::message::Message;

use super::{Delivery, Outbound, Patience, PublishError, To, Way, check_transport, taking};

impl Outbound {
    /// Publishes to the subscriber of this name only.
    pub(in crate::client) fn publish_to_one<T: Message + ?Sized>(
        &mut self,
        id: u32,
        receiver: &str,
        message: &T,
    ) -> Result<Delivery, PublishError> {
        if self.mark.is_forked() {
            return Err(PublishError::Forked);
        }
        self.sync();
        self.serve_waiting(Patience::Policy);
        let to = self.only(id, receiver)?;
        let delivery = self.serve(id, message, Patience::Policy, to, Way::Any)?;
        self.check_receiver(id, receiver, delivery)
    }

    /// The lane of the client of this name, of those that take the topic; of several the one that came first.
    pub(in crate::client) fn only(&mut self, id: u32, receiver: &str) -> Result<To, PublishError> {
        let lanes = &self.lanes;
        let slot = self.topics.slot(id, self.routes.version, taking(lanes));
        check_transport(slot, &mut self.unconfirmed)?;
        // Members of queue groups have names of their own.
        let members = slot.groups.iter().flatten();
        let keys = slot.lanes.iter().chain(members);
        let all = keys.flat_map(|key| lanes[*key].writer.members());
        let named = all.filter(|member| member.name() == receiver);
        // The broker numbers lanes as they come.
        let first = named.map(Member::lane).min();
        let copy = self.copies.named(receiver, slot.topic());
        match (first, copy) {
            (Some(lane), Some(copy)) if copy < lane => Ok(To::Copy(copy)),
            (Some(lane), _) => {
                let key = self.set_apart(lane);
                key.map(To::One)
                    .ok_or_else(|| self.no_receiver(id, receiver))
            }
            (None, Some(copy)) => Ok(To::Copy(copy)),
            (None, None) => Err(self.no_receiver(id, receiver)),
        }
    }

    /// Refuses what has become of a message whose receiver went just then.
    pub(in crate::client) fn check_receiver(
        &self,
        id: u32,
        receiver: &str,
        delivery: Delivery,
    ) -> Result<Delivery, PublishError> {
        match delivery.lanes + delivery.dropped {
            0 => Err(self.no_receiver(id, receiver)),
            _ => Ok(delivery),
        }
    }

    fn no_receiver(&self, id: u32, receiver: &str) -> PublishError {
        PublishError::NoReceiver {
            receiver: receiver.to_owned(),
            topic: self.topics.topic(id).clone(),
        }
    }
}
