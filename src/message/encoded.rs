//! An encoded message outside any ring.
//!
//! The one invariant of the unsafe lines here: `cells` holds at least `len_bytes` bytes, all initialized: they begin as
//! zeros, and encoders write values.
#![allow(unsafe_code)]

use std::ops::Deref;
use std::slice;

use super::{EncodeError, Message, Scratch};

/// An encoded message outside any ring, aligned as in one. Its memory is kept for the next one.
#[derive(Default)]
pub struct EncodedBytes {
    cells: Vec<Cell>,
    len_bytes: usize,
}

#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Cell([u8; 16]);

impl EncodedBytes {
    /// Replaces the content by the encoded message.
    ///
    /// # Errors
    /// [`EncodeError::Failed`] if the value cannot be encoded; there is no content then.
    pub fn encode<T: Message + ?Sized>(
        &mut self,
        message: &T,
        scratch: &mut Scratch,
    ) -> Result<(), EncodeError> {
        self.len_bytes = 0;
        let len = message.encoded_len(scratch)?;
        let written = message.encode(self.room(len), scratch)?;
        // A hand-written `Message` may claim anything; only what was asked for can have been written.
        if written != len {
            return Err(EncodeError::Failed(format!(
                "{written} bytes were encoded, {len} announced"
            )));
        }
        self.len_bytes = len;
        Ok(())
    }

    /// Replaces the content by bytes that are encoded already.
    pub fn copy_from(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.len_bytes = bytes.len();
    }

    fn room(&mut self, len: usize) -> &mut [u8] {
        let cells = len.div_ceil(size_of::<Cell>());
        if self.cells.len() < cells {
            self.cells.resize(cells, Cell([0; 16]));
        }
        // SAFETY: the cells are initialized bytes without padding, at least `len` of them.
        unsafe { slice::from_raw_parts_mut(self.cells.as_mut_ptr().cast(), len) }
    }
}

impl Deref for EncodedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the invariant of this file.
        unsafe { slice::from_raw_parts(self.cells.as_ptr().cast(), self.len_bytes) }
    }
}
