//! The message that tests send.

use ringmain::rkyv;

/// A numbered message whose content follows from its number.
#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message, Clone, Debug, PartialEq)]
#[message(name = "test.tick")]
pub struct Tick {
    /// Counts from 0.
    pub number: u64,
    /// Follows from `number`.
    pub price: f64,
    /// Follows from `number`.
    pub text: String,
}

impl Tick {
    /// Message `number`.
    pub fn new(number: u64) -> Self {
        Self {
            number,
            price: number as f64 / 4.0,
            text: "x".repeat(number as usize % 40),
        }
    }
}

impl ArchivedTick {
    /// The number, after everything else was checked against it.
    pub fn checked(&self) -> u64 {
        let number = self.number.to_native();
        let expected = Tick::new(number);
        assert_eq!(self.price.to_native(), expected.price);
        assert_eq!(self.text.as_str(), expected.text);
        number
    }
}
