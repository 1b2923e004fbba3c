//! Types are told apart by what matters to a peer.

use rkyv::{Archive, Serialize};

use super::{Chain, Everything, Quote};
use crate::Describe;
use crate::message::{Bytes, Describe, Kind, Layout, Message, MessageType};

mod other {
    use super::*;

    #[derive(Archive, Serialize, Describe)]
    pub struct Quote {
        pub bid: f32,
    }

    #[derive(Archive, Serialize, Describe)]
    pub struct Order {
        pub id: u64,
        pub quote: Quote,
    }

    #[derive(Archive, Serialize, Describe)]
    pub enum Side {
        Buy,
        Sell(u8),
    }
}

mod ours {
    use super::*;

    #[derive(Archive, Serialize, Describe)]
    pub struct Bid {
        pub bid: f64,
    }

    #[derive(Archive, Serialize, Describe)]
    pub struct Order {
        pub id: u64,
        pub quote: Bid,
    }

    #[derive(Archive, Serialize, Describe)]
    pub enum Side {
        Buy,
        Sell(u16),
    }
}

fn difference<Here: Describe, There: Describe>() -> String {
    let (here, there) = (
        MessageType::of::<Here>("t", 1),
        MessageType::of::<There>("t", 1),
    );
    assert_ne!(here.fingerprint, there.fingerprint);
    here.difference(&there).unwrap().to_string()
}

#[test]
fn a_changed_nested_field_is_named_with_its_path() {
    assert_eq!(
        difference::<ours::Order, other::Order>(),
        "field `quote.bid` at offset 0 is f64 here, f32 there"
    );
    assert_eq!(
        difference::<Vec<ours::Order>, Vec<other::Order>>(),
        "field `quote.bid` at offset 0 is f64 here, f32 there"
    );
    assert_eq!(
        difference::<(u8, Vec<f64>), (u8, Vec<f32>)>(),
        "field `1` at offset 4 is Vec<f64> here, Vec<f32> there"
    );
}

#[test]
fn a_changed_field_of_a_variant_is_named_with_the_variant() {
    fn difference_of<Here: Describe, There: Describe>(_: Here, _: There) -> String {
        difference::<Here, There>()
    }
    let here = [ours::Side::Buy, ours::Side::Sell(1)];
    let there = [other::Side::Buy, other::Side::Sell(1)];
    assert_eq!(
        difference_of(here, there),
        "field `Sell.0` at offset 2 is u16 here, u8 there"
    );
}

#[test]
fn what_exists_on_one_side_only_is_named() {
    assert_eq!(
        difference::<(u8, u8), (u8, u8, u8)>(),
        "field `2` is missing here"
    );
    assert_eq!(
        difference::<(u8, u8, u8), (u8, u8)>(),
        "field `2` is missing there"
    );
    assert_eq!(
        difference::<u8, ours::Order>(),
        "the message is u8 here, a struct of 2 fields there"
    );
}

#[test]
fn name_and_version_are_compared_first() {
    let quote = Quote::message_type();
    let renamed = MessageType::of::<u8>("md.trade", 1);
    let newer = MessageType::of::<u8>("md.quote", 2);
    assert_eq!(
        quote.difference(&renamed).unwrap().to_string(),
        "the type is named `md.quote` here, `md.trade` there"
    );
    assert_eq!(
        quote.difference(&newer).unwrap().to_string(),
        "the version is 1 here, 2 there"
    );
    assert_eq!(quote.difference(&quote.clone()), None);
}

#[test]
fn the_same_fields_in_another_order_are_a_difference() {
    #[derive(Archive, Serialize, Describe)]
    struct Left {
        a: u32,
        b: u32,
    }
    #[derive(Archive, Serialize, Describe)]
    struct Right {
        b: u32,
        a: u32,
    }
    assert_eq!(
        difference::<Left, Right>(),
        "field `a` is at offset 0 here, 4 there"
    );
}

#[test]
fn types_of_equal_layout_are_one_entry_whatever_they_are_called() {
    #[derive(Archive, Serialize, Describe)]
    struct Bid {
        bid: f64,
    }
    assert_eq!(
        Layout::of::<(ours::Bid, ours::Bid)>(),
        Layout::of::<(ours::Bid, Bid)>()
    );
    assert_eq!(Layout::of::<(ours::Bid, Bid)>().types.len(), 3);
}

#[test]
fn a_type_that_contains_itself_is_described_once() {
    let layout = &Chain::message_type().layout;
    assert_eq!(layout.types.len(), 4);
    assert!(
        layout
            .types
            .iter()
            .any(|entry| entry.kind == Kind::Boxed(crate::message::TypeIndex(0)))
    );
    // One turn of the circle written out is the same type.
    #[derive(Archive, Serialize, Describe)]
    struct Unrolled {
        value: u32,
        next: Option<Box<Chain>>,
    }
    assert_eq!(Layout::of::<Unrolled>(), *layout);
}

#[test]
fn what_a_process_makes_passes_its_own_check() {
    for made in [
        Quote::message_type(),
        Everything::message_type(),
        Chain::message_type(),
        Bytes::message_type(),
    ] {
        assert_eq!(made.validate(), Ok(()), "{made}");
    }
}

/// Changing any of these numbers separates new processes from running ones.
#[test]
fn fingerprints_are_pinned() {
    assert_eq!(Quote::message_type().fingerprint, 0xd64c_86ce_d5e2_36c5);
    assert_eq!(
        Everything::message_type().fingerprint,
        0x5c06_59b5_e602_6107
    );
    assert_eq!(Bytes::message_type().fingerprint, 0x2717_674d_0f13_ac44);
}
