//! What a client counts, for whoever wants to look: in shared memory of its own, without the broker.
//!
//! Each client counts, for each of its lanes, what it has written or read, what was lost and why, how often somebody slept
//! and was woken. The counters lie in sealed segments of the client, which nobody else can write. [`scan`] finds them
//! by the names of memfds under `/proc/PID/fd`, in all processes that the caller may look at, on whatever bus, whether or not
//! a broker lives.
//!
//! Counting costs a few plain stores into a cache line that only the counting thread writes. What a lane has counted is
//! added to its handle when it ends, and what a handle has, to its client's [`closed_publishers`] or [`closed_subscribers`]
//! when it is closed: nothing that was counted disappears before the client does.
//!
//! Each counter is exact, but they are not read all in one moment. What another process wrote is checked and bounded,
//! yet it may be made up: a number is as trustworthy as the process that counted.
//!
//! ```
//! # #[cfg(feature = "broker")] {
//! use ringmain::{Client, broker::Broker, counters, message::Bytes};
//!
//! let _broker = Broker::builder().listen("memory:doc-counters".parse()?).start()?;
//! let client = Client::connect("memory:doc-counters")?;
//! let mut subscriber = client.subscriber::<Bytes>("greeting/*").open()?;
//! let mut publisher = client.publisher::<Bytes>("greeting/*").open()?;
//! publisher.publish("greeting/world", Bytes::new(b"hello"))?;
//! drop(subscriber.recv()?);
//!
//! let scan = counters::scan_process(std::process::id())?;
//! let own = scan.clients.iter().find(|found| found.bus == client.incarnation()).unwrap();
//! assert_eq!(own.total(counters::Role::Publisher).messages, 1);
//! assert_eq!(own.total(counters::Role::Subscriber).bytes, 5);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`closed_publishers`]: ClientCounters::closed_publishers
//! [`closed_subscribers`]: ClientCounters::closed_subscribers

mod book;
mod histogram;
mod lane;
mod page;
mod reading;
mod scan;
mod slot;
mod snapshot;

pub(crate) use book::{Book, HandleSlot};
pub use histogram::Histogram;
pub(crate) use lane::LaneSlot;
pub use scan::{ScanError, scan, scan_process};
pub use snapshot::{ClientCounters, Counts, HandleCounters, Lag, LaneCounters, Role, Scan};

#[cfg(test)]
mod tests;
