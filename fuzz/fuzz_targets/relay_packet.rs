//! Feeds the decoder of packets with bytes from another host.
//!
//! The checksum of the first packet is put right before, or hardly an input would get past it. What is decoded must come
//! out again when it is encoded, and no cut of it may be taken for a packet.
#![no_main]
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;
#[path = "../../src/sync.rs"]
mod sync;

mod wire {
    pub type LaneId = u64;
}

mod table {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Stamp {
        pub sequence: u64,
        pub number: u64,
        pub count: u32,
    }
}

#[path = "../../src/relay/packet.rs"]
mod packet;

// What the decoder takes from the module above it.
const MAX_RING_BYTES: usize = 64 * 1024 * 1024;
const RECORDS_AT_ONCE: usize = 64 * 1024;

use libfuzzer_sys::fuzz_target;
use packet::{HEADER_BYTES, decode};

const FRAME_BYTES: u32 = 4096;

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    mend(&mut bytes);
    let Ok(Some((packet, len))) = decode(&bytes, FRAME_BYTES) else {
        return;
    };
    for cut in 0..len {
        assert_eq!(decode(&bytes[..cut], FRAME_BYTES), Ok(None));
    }
    let mut again = Vec::new();
    packet.encode(&mut again);
    assert_eq!(decode(&again, FRAME_BYTES), Ok(Some((packet, len))));
});

fn mend(bytes: &mut [u8]) {
    let Some((header, rest)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() else {
        return;
    };
    let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    if let Some(body) = rest.get(..len as usize) {
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..24]), body);
        header[24..28].copy_from_slice(&checksum.to_le_bytes());
    }
}
