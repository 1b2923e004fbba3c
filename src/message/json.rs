//! Turns an encoded message into JSON by a layout that is known only at run time.
//!
//! Neither bytes nor layout are trusted: every read is bounds-checked, recursion is bounded, and so is the work, in proportion to
//! the length of the message.

use thiserror::Error;

use super::{Field, Kind, Layout, MessageType, TypeIndex, TypeLayout, Variant};

/// Why bytes have no JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JsonError {
    /// A value would lie outside of the message.
    #[error("the message of {len_bytes} bytes has no {size_bytes} bytes at byte {at}")]
    Outside {
        /// Where the value starts.
        at: i64,
        /// Its size.
        size_bytes: u64,
        /// The size of the message.
        len_bytes: usize,
    },
    /// The bytes are no value of their type.
    #[error("byte {at} of the message starts no valid {what}")]
    Invalid {
        /// Where the value starts.
        at: usize,
        /// What it should be.
        what: &'static str,
    },
    /// The layout refers to a type that it does not have.
    #[error("the layout has no type {index}: it was not validated")]
    Layout {
        /// What it refers to.
        index: u32,
    },
    /// Values are nested too deeply.
    #[error("values are nested deeper than {MAX_DEPTH}")]
    Nested,
    /// The same bytes are referred to over and over; no encoder writes that.
    #[error("the message refers to the same bytes too often")]
    Amplified,
}

/// A message as JSON text.
///
/// Structs are objects with their fields in order, tuples are arrays, a struct with a single field without a name is that
/// field. A message with a tail is an object of `header` and `tail`, or the array of its elements if it has no header. A variant is its name, or an object that holds its fields by its name. `None`, `()`, and numbers that are not finite
/// are `null`. Integers of 128 bits are strings. A message without a structure is a string, see [`raw_to_text`].
///
/// ```
/// use ringmain::message::{Bytes, Message, to_json};
///
/// assert_eq!(to_json(Bytes::message_type(), b"hello")?, "\"hello\"");
/// # Ok::<(), ringmain::message::JsonError>(())
/// ```
///
/// # Errors
/// [`JsonError`] if the bytes are no message of that type.
pub fn to_json(message_type: &MessageType, bytes: &[u8]) -> Result<String, JsonError> {
    let layout = &message_type.layout;
    let budget = MIN_BUDGET + BUDGET_PER_BYTE * bytes.len() as u64;
    let mut walk = Walk {
        layout,
        bytes,
        out: Vec::new(),
        budget,
    };
    let root = walk.entry(TypeIndex(0))?;
    let len_bytes = bytes.len();
    let size_bytes = u64::from(root.size_bytes);
    let rest = bytes
        .len()
        .checked_sub(root.size_bytes as usize)
        .ok_or(JsonError::Outside {
            at: 0,
            size_bytes,
            len_bytes,
        })?;
    let at = match root.kind {
        Kind::Tail { .. } => 0,
        _ => rest,
    };
    walk.value(TypeIndex(0), at, 0)?;
    String::from_utf8(walk.out).map_err(|_| JsonError::Invalid {
        at: 0,
        what: "text",
    })
}

/// Bytes for a reader: the text that they are, if all of it can be printed, else their hexadecimal digits.
pub fn raw_to_text(bytes: &[u8]) -> String {
    let printable = |text: &&str| {
        text.chars()
            .all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
    };
    match std::str::from_utf8(bytes).ok().filter(printable) {
        Some(text) => text.to_owned(),
        None => {
            let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
            bytes
                .iter()
                .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
                .collect()
        }
    }
}

struct Walk<'a> {
    layout: &'a Layout,
    bytes: &'a [u8],
    out: Vec<u8>,
    budget: u64,
}

impl<'a> Walk<'a> {
    fn value(&mut self, index: TypeIndex, at: usize, depth: usize) -> Result<(), JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::Nested);
        }
        self.spend(1)?;
        match &self.entry(index)?.kind {
            Kind::Struct(fields) => self.fields(fields, at, depth),
            Kind::Enum(variants) => self.variant(variants, at, depth),
            Kind::List(element) => {
                let len = u32::from_le_bytes(self.read(at.saturating_add(4))?);
                // An empty list points nowhere.
                let start = if len == 0 { 0 } else { self.target(at, at)? };
                self.elements(*element, start, len, depth)
            }
            Kind::Array { element, len } => self.elements(*element, at, *len, depth),
            Kind::Option(value) => self.option(*value, at, depth),
            Kind::Boxed(value) => {
                let target = self.target(at, at)?;
                self.value(*value, target, depth + 1)
            }
            Kind::Tail {
                header, element, ..
            } => {
                let start = self.entry(index)?.size_bytes as usize;
                self.tail(*header, *element, start, depth)
            }
            plain => self.plain(plain, at),
        }
    }

    /// Only the message itself has a tail, which begins at `start`.
    fn tail(
        &mut self,
        header: TypeIndex,
        element: TypeIndex,
        start: usize,
        depth: usize,
    ) -> Result<(), JsonError> {
        let size = self.entry(element)?.size_bytes as usize;
        let len_bytes = self.bytes.len().saturating_sub(start);
        let invalid = JsonError::Invalid {
            at: start,
            what: "tail",
        };
        let len = match len_bytes.checked_rem(size) {
            Some(0) => u32::try_from(len_bytes / size).map_err(|_| invalid)?,
            _ => return Err(invalid),
        };
        if self.entry(header)?.kind == Kind::Unit {
            return self.elements(element, start, len, depth + 1);
        }
        self.push("{\"header\":");
        self.value(header, 0, depth + 1)?;
        self.push(",\"tail\":");
        self.elements(element, start, len, depth + 1)?;
        self.push("}");
        Ok(())
    }

    fn fields(&mut self, fields: &'a [Field], at: usize, depth: usize) -> Result<(), JsonError> {
        let unnamed = fields.first().is_some_and(|field| field.name == "0");
        let (open, close) = match fields {
            [_] if unnamed => ("", ""),
            _ if unnamed => ("[", "]"),
            _ => ("{", "}"),
        };
        self.push(open);
        for (position, field) in fields.iter().enumerate() {
            self.separate(position);
            if !unnamed {
                self.text(&field.name);
                self.push(":");
            }
            self.value(
                field.layout,
                at.saturating_add(field.offset_bytes as usize),
                depth + 1,
            )?;
        }
        self.push(close);
        Ok(())
    }

    fn variant(
        &mut self,
        variants: &'a [Variant],
        at: usize,
        depth: usize,
    ) -> Result<(), JsonError> {
        let [tag] = self.read(at)?;
        let variant =
            variants
                .iter()
                .find(|variant| variant.tag == tag)
                .ok_or(JsonError::Invalid {
                    at,
                    what: "variant",
                })?;
        if variant.fields.is_empty() {
            self.text(&variant.name);
            return Ok(());
        }
        self.push("{");
        self.text(&variant.name);
        self.push(":");
        self.fields(&variant.fields, at, depth)?;
        self.push("}");
        Ok(())
    }

    fn elements(
        &mut self,
        element: TypeIndex,
        at: usize,
        len: u32,
        depth: usize,
    ) -> Result<(), JsonError> {
        let size = self.entry(element)?.size_bytes as usize;
        self.slice(at, size.saturating_mul(len as usize))?;
        self.push("[");
        for position in 0..len as usize {
            self.separate(position);
            self.value(element, at + position * size, depth + 1)?;
        }
        self.push("]");
        Ok(())
    }

    fn option(&mut self, value: TypeIndex, at: usize, depth: usize) -> Result<(), JsonError> {
        match self.read(at)? {
            [0] => self.push("null"),
            [1] => {
                let align = self.entry(value)?.align_bytes.max(1) as usize;
                return self.value(value, at.saturating_add(align), depth + 1);
            }
            _ => return Err(JsonError::Invalid { at, what: "option" }),
        }
        Ok(())
    }

    fn plain(&mut self, kind: &Kind, at: usize) -> Result<(), JsonError> {
        match kind {
            Kind::Bool => match self.read(at)? {
                [0] => self.push("false"),
                [1] => self.push("true"),
                _ => return Err(JsonError::Invalid { at, what: "bool" }),
            },
            Kind::Unsigned { bits: 8 } => self.scalar(u8::from_le_bytes(self.read(at)?)),
            Kind::Unsigned { bits: 16 } => self.scalar(u16::from_le_bytes(self.read(at)?)),
            Kind::Unsigned { bits: 32 } => self.scalar(u32::from_le_bytes(self.read(at)?)),
            Kind::Unsigned { bits: 64 } => self.scalar(u64::from_le_bytes(self.read(at)?)),
            Kind::Unsigned { bits: 128 } => {
                self.text(&u128::from_le_bytes(self.read(at)?).to_string())
            }
            Kind::Signed { bits: 8 } => self.scalar(i8::from_le_bytes(self.read(at)?)),
            Kind::Signed { bits: 16 } => self.scalar(i16::from_le_bytes(self.read(at)?)),
            Kind::Signed { bits: 32 } => self.scalar(i32::from_le_bytes(self.read(at)?)),
            Kind::Signed { bits: 64 } => self.scalar(i64::from_le_bytes(self.read(at)?)),
            Kind::Signed { bits: 128 } => {
                self.text(&i128::from_le_bytes(self.read(at)?).to_string())
            }
            Kind::Float { bits: 32 } => self.scalar(f32::from_le_bytes(self.read(at)?)),
            Kind::Float { bits: 64 } => self.scalar(f64::from_le_bytes(self.read(at)?)),
            Kind::Char => {
                let scalar = char::from_u32(u32::from_le_bytes(self.read(at)?));
                let scalar = scalar.ok_or(JsonError::Invalid { at, what: "char" })?;
                self.text(scalar.encode_utf8(&mut [0; 4]));
            }
            Kind::String => self.string(at)?,
            Kind::Raw => self.text(&raw_to_text(self.bytes)),
            Kind::Unit => self.push("null"),
            _ => {
                return Err(JsonError::Invalid {
                    at,
                    what: "number: the layout was not validated",
                });
            }
        }
        Ok(())
    }

    fn string(&mut self, at: usize) -> Result<(), JsonError> {
        let inline: [u8; 8] = self.read(at)?;
        let bytes = if inline[0] & 0xc0 == 0x80 {
            let [a, b, c, d, ..] = inline;
            let word = u32::from_le_bytes([a, b, c, d]);
            let len = (word & 0x3f) | ((word & !0xff) >> 2);
            let start = self.target(at, at.saturating_add(4))?;
            self.slice(start, len as usize)?
        } else {
            let len = inline
                .iter()
                .position(|byte| *byte == 0xff)
                .unwrap_or(inline.len());
            self.slice(at, len)?
        };
        self.spend(bytes.len() as u64)?;
        self.text(
            std::str::from_utf8(bytes).map_err(|_| JsonError::Invalid { at, what: "string" })?,
        );
        Ok(())
    }

    fn entry(&self, index: TypeIndex) -> Result<&'a TypeLayout, JsonError> {
        self.layout
            .type_at(index)
            .ok_or(JsonError::Layout { index: index.0 })
    }

    fn spend(&mut self, cost: u64) -> Result<(), JsonError> {
        self.budget = self.budget.checked_sub(cost).ok_or(JsonError::Amplified)?;
        Ok(())
    }

    fn slice(&self, at: usize, size: usize) -> Result<&'a [u8], JsonError> {
        let found = at.checked_add(size).and_then(|end| self.bytes.get(at..end));
        found.ok_or(JsonError::Outside {
            at: at as i64,
            size_bytes: size as u64,
            len_bytes: self.bytes.len(),
        })
    }

    fn read<const N: usize>(&self, at: usize) -> Result<[u8; N], JsonError> {
        let mut read = [0; N];
        read.copy_from_slice(self.slice(at, N)?);
        Ok(read)
    }

    /// Where the offset stored at `offset_at` leads, counted from `base`.
    fn target(&self, base: usize, offset_at: usize) -> Result<usize, JsonError> {
        let at = base as i64 + i64::from(i32::from_le_bytes(self.read(offset_at)?));
        let len_bytes = self.bytes.len();
        usize::try_from(at).map_err(|_| JsonError::Outside {
            at,
            size_bytes: 0,
            len_bytes,
        })
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn separate(&mut self, position: usize) {
        if position > 0 {
            self.push(",");
        }
    }

    fn text(&mut self, text: &str) {
        self.scalar(text);
    }

    fn scalar(&mut self, value: impl serde::Serialize) {
        serde_json::to_writer(&mut self.out, &value)
            .expect("text and numbers have a JSON form, and a Vec takes all of it");
    }
}

/// Values inside each other: deeper than what a view may have, since a struct or an option counts here, too.
const MAX_DEPTH: usize = 512;

/// Values and bytes of text that a message may yield: an archive has its own bytes for each of its values, except those without a
/// size and structs around them, so this is ample.
const MIN_BUDGET: u64 = 1 << 16;
const BUDGET_PER_BYTE: u64 = 16;
