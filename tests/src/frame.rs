//! Large payloads that can be checked.

/// Fills a payload of at least 8 bytes with what belongs to its number.
pub fn fill_frame(frame: &mut [u8], number: u64) {
    let (head, rest) = frame.split_at_mut(8);
    head.copy_from_slice(&number.to_le_bytes());
    rest.fill(byte(number));
}

/// The number of a payload, every byte of which is checked.
pub fn check_frame(frame: &[u8]) -> u64 {
    let (head, rest) = frame.split_at(8);
    let number = u64::from_le_bytes(head.try_into().unwrap());
    let expected = byte(number);
    assert!(rest.iter().all(|byte| *byte == expected), "frame {number}");
    number
}

/// A payload of so many bytes.
pub fn frame(number: u64, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len];
    fill_frame(&mut frame, number);
    frame
}

fn byte(number: u64) -> u8 {
    (number * 37 + 1) as u8
}
