//! A random number that tells one life of something from the next.
#![allow(unsafe_code)]
//! The one invariant here: `getrandom` gets a buffer that is ours, with its length.

use std::{fmt, io};

/// A random number that tells one life of something from the next: a segment, a broker.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Incarnation(pub u128);

impl Incarnation {
    /// A new one from the kernel's random numbers.
    ///
    /// Blocks early in the boot of a machine only, until the kernel has gathered entropy.
    ///
    /// # Errors
    /// Those of `getrandom(2)`: the kernel has none, or a sandbox forbids it.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0_u8; 16];
        loop {
            // SAFETY: the buffer is a local array and the length is its own.
            let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
            // Up to 256 bytes come whole.
            if filled == 16 {
                return Ok(Self(u128::from_le_bytes(bytes)));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({:032x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_incarnations_differ() {
        assert_ne!(
            Incarnation::random().unwrap(),
            Incarnation::random().unwrap()
        );
    }
}
