//! What the kernel offers to wake a process, and to watch it.

mod bell;
mod courier;
mod cpus;
mod descriptors;
mod kernel;
mod process;
pub mod rights;

pub use bell::{Bell, BellReceiver, BellSender, Wait};
pub use courier::{Courier, CourierError, CourierReceiver, CourierSender, MAX_ATTACHED, Parcel};
pub use cpus::{PinError, pin};
pub use descriptors::raise_descriptor_limit;
pub use kernel::{KernelError, KernelVersion};
pub use process::{Credentials, Pidfd, ProcessError, has_exited};
