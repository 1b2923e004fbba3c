//! Publishing a message of parts that lie in several places.

use rkyv::Portable;
use rkyv::bytecheck::CheckBytes;

use crate::message::rkyv_codec::FlatValidator;
use crate::message::{Bytes, BytesParts, Describe, Message, Parts, WithTail};

use super::error::PublishError;
use super::outbound::{Delivery, Patience};
use super::publisher::Publisher;
use super::topics::ResolvedTopic;

impl Publisher<Bytes> {
    /// Publishes slices of bytes as one message, one behind the other, without joining them anywhere but in shared memory. Otherwise as
    /// [`Publisher::publish_to`].
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then.
    ///
    /// ```no_run
    /// use ringmain::{Client, message::Bytes};
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<Bytes>("packets").open()?;
    /// let topic = publisher.resolve("packets")?;
    /// let (head, body) = (4_u32.to_le_bytes(), *b"body");
    /// publisher.publish_parts(&topic, &[&head, &body])?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_parts(
        &mut self,
        topic: &ResolvedTopic,
        parts: &[&[u8]],
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        self.outbound_mut()
            .publish(id, &BytesParts(parts), Patience::Policy)
    }
}

impl<H, E, const ALIGN: usize> Publisher<WithTail<H, E, ALIGN>>
where
    H: Message + Describe,
    H::Archived: Portable + CheckBytes<FlatValidator>,
    E: Describe,
{
    /// Publishes a header with a tail that lies elsewhere, without joining them anywhere but in shared memory. Otherwise as
    /// [`Publisher::publish_to`].
    ///
    /// # Errors
    /// [`PublishError`]; the message went to nobody then.
    ///
    /// ```no_run
    /// use ringmain::message::WithTail;
    /// use ringmain::{Client, rkyv};
    ///
    /// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
    /// #[rkyv(crate = ringmain::rkyv)]
    /// #[message(name = "audio.block")]
    /// struct Block {
    ///     first_sample: u64,
    ///     rate_hz: u32,
    /// }
    ///
    /// let client = Client::connect("demo")?;
    /// let mut publisher = client.publisher::<WithTail<Block, f32>>("audio/*").open()?;
    /// let topic = publisher.resolve("audio/left")?;
    /// let samples = [0.0_f32; 480];
    /// let block = Block { first_sample: 0, rate_hz: 48_000 };
    /// publisher.publish_with_tail(&topic, &block, &samples)?;
    ///
    /// let mut subscriber = client.subscriber::<WithTail<Block, f32>>("audio/*").open()?;
    /// let sample = subscriber.recv()?;
    /// println!("{} Hz: {:?}", sample.header().rate_hz, &sample.tail()[..4]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_with_tail(
        &mut self,
        topic: &ResolvedTopic,
        header: &H,
        tail: &[E],
    ) -> Result<Delivery, PublishError> {
        let id = self.id_of(topic)?;
        let parts = Parts::<H, E, ALIGN> { header, tail };
        self.outbound_mut().publish(id, &parts, Patience::Policy)
    }
}
