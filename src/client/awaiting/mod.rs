//! Waiting in futures, on any executor.
//!
//! A future polls what the blocking operation of the same name polls, and sleeps on the same bell; only who waits for
//! the bell differs: `async-io`'s reactor.

mod reactor;
mod receive;

pub(super) use reactor::InReactor;
pub use receive::SampleStream;
