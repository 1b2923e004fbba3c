//! The message of the demo.

use crate::ticks::Tick;

/// A quote on its way: a tick with its place in the replay.
#[derive(Clone, Debug, rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[rkyv(derive(Debug))]
#[message(name = "demo.quote")]
pub struct Quote {
    /// Best price to sell at.
    pub bid: f64,
    /// Best price to buy at.
    pub ask: f64,
    /// How much can be sold at it.
    pub bid_size: f64,
    /// How much can be bought at it.
    pub ask_size: f64,
    /// When it was quoted, in nanoseconds since 1970, UTC.
    pub ts_ns: u64,
    /// When it was to be sent, by CLOCK_MONOTONIC in nanoseconds; 0 at full speed.
    pub sent_ns: u64,
    /// How often all ticks were sent before.
    pub pass: u64,
    /// Which of the ticks it is.
    pub index: u32,
    /// What is measured meanwhile.
    pub phase: Phase,
}

/// The parts of the demo, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, ringmain::Describe)]
#[rkyv(compare(PartialEq), derive(Clone, Copy, Debug))]
pub enum Phase {
    /// Paced, not measured.
    WarmUp,
    /// Paced, for the latency.
    Paced,
    /// As fast as the subscribers take it, for the rate.
    FullSpeed,
    /// No quote: all of them are sent.
    End,
}

/// The next tick to send or to expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// How often all ticks were sent before.
    pub pass: u64,
    /// Which of the ticks it is.
    pub index: u32,
}

impl Quote {
    /// The message for a tick.
    pub fn new(tick: &Tick, place: Place, phase: Phase, sent_ns: u64) -> Self {
        Self {
            bid: tick.bid,
            ask: tick.ask,
            bid_size: tick.bid_size,
            ask_size: tick.ask_size,
            ts_ns: tick.ts_ns,
            sent_ns,
            pass: place.pass,
            index: place.index,
            phase,
        }
    }
}

impl ArchivedQuote {
    /// Whether it is this tick at this place.
    pub fn is(&self, tick: &Tick, place: Place) -> bool {
        self.pass.to_native() == place.pass
            && self.index.to_native() == place.index
            && self.ts_ns.to_native() == tick.ts_ns
            && self.bid.to_native() == tick.bid
            && self.ask.to_native() == tick.ask
            && self.bid_size.to_native() == tick.bid_size
            && self.ask_size.to_native() == tick.ask_size
    }
}

impl Place {
    /// The place behind this one.
    pub fn next(self, ticks: usize) -> Self {
        match self.index as usize + 1 < ticks {
            true => Self {
                index: self.index + 1,
                ..self
            },
            false => Self {
                pass: self.pass + 1,
                index: 0,
            },
        }
    }
}

/// Where the quotes are published.
pub const TOPIC: &str = "demo/quote";
