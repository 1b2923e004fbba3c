//! The raw limit: what the machine can do without a bus.

pub mod memory;
pub mod socket;
pub mod tcp;
