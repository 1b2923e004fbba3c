//! What an application holds: a client, its publishers, its subscribers.
//!
//! A handle's thread works with its lanes alone (`outbound`, `inbound`); what the broker and the peers change arrives in
//! its mailbox, posted by the control thread (`control`), which carries out what the session (`session`) decides.

#[cfg(feature = "async")]
mod awaiting;
mod bell;
#[expect(clippy::module_inception, reason = "the type gives the file its name")]
mod client;
mod closing;
mod control;
mod error;
mod gap;
mod held;
mod inbound;
mod last_values;
mod loan;
mod mailbox;
mod open_rings;
mod outbound;
mod parts;
mod polling;
mod publisher;
mod regions;
mod sample;
mod second_look;
pub(crate) mod session;
mod shared;
mod sizes;
mod subscriber;
mod topics;
mod typed_loan;
mod unclaimed;
mod undecodable;
mod waiting;

#[cfg(feature = "async")]
pub use awaiting::{MessageSink, SampleStream};
pub use client::{Client, ClientBuilder, ListTopics};
pub use closing::{CloseError, Closed, ClosedLane};
pub use error::{ConnectError, LaneFault, PublishError, RecvError, RequestError};
pub use gap::{Gap, GapCause, SubscriberEvent};
pub use held::{Held, HoldError};
pub use inbound::Wait;
pub use last_values::{LastValue, LastValues, LookError};
pub use loan::{Loan, LoanAlign, LoanError};
pub use outbound::{Delivery, Retry};
pub use publisher::{Attachment, Publisher, PublisherBuilder};
pub use regions::RegionRegistry;
pub use sample::Sample;
pub use session::ProtocolError;
pub use subscriber::{AnyMessage, Receive, Subscriber, SubscriberBuilder};
pub use topics::ResolvedTopic;
pub use unclaimed::Unclaimed;
pub use undecodable::Undecodable;
pub use waiting::{Timer, Waitable, wait_any};
