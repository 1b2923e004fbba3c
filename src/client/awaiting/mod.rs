//! Waiting in futures, on any executor.
//!
//! A future polls what the blocking operation of the same name polls, and sleeps on the same bell; only who waits for
//! the bell differs: `async-io`'s reactor.

mod close;
mod publish;
mod reactor;
mod receive;
mod sink;

pub(super) use reactor::InReactor;
pub use receive::SampleStream;
pub use sink::MessageSink;
