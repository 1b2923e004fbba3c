//! The tool as its users run it: the real binary, each test on a bus of its own.

mod bench;
mod delivery;
mod demo;
mod harness;
mod kept;
mod lists;
mod messages;
mod names;
mod policies;
mod rates;
mod serve;
mod stat;
mod typed;
