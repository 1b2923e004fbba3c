//! What all contenders of the comparison have in common: messages, measuring loops, the parts of processes.
//!
//! A contender is a program of its own. It provides an [`Outlet`] and an [`Inlet`], or their asynchronous counterparts, and the
//! list of its [`Mode`]s; everything that is measured is measured here, by the same code for all.

pub mod clock;
pub mod drive;
pub mod drive_async;
mod ends;
mod message;
mod role;
mod rtt;
mod stream;
mod task;

pub use ends::{AsyncInlet, AsyncOutlet, Channel, Inlet, Outlet, Polling};
pub use message::{Any, Fixed, Kind, Size, Stamp, check, fill};
pub use role::{Contender, Ends, finish, main, play_blocking, tell_ready};
pub use rtt::{Echo, Pinger};
pub use stream::{Burst, PATIENCE, Receiver, Sender};
pub use task::{Mode, Part, Task, Told, Touch, Wait, Workload};
