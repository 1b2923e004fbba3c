//! Turns JSON into an encoded message by a layout that is known only at run time.
//!
//! The inverse of [`to_json`](super::to_json). What is encoded has rkyv's form: what a value points to stands before it,
//! in the order of its fields. Neither text nor layout are trusted.

use serde_json::Value;
use thiserror::Error;

use super::plain_from_json::store_plain;
use super::{Field, Kind, LayoutError, MessageType, TypeIndex, TypeLayout, Variant};

/// Why text is no message of a type.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FromJsonError {
    /// The text is not JSON.
    #[error("this is not JSON: {0}")]
    Text(serde_json::Error),
    /// A value is of another kind than its field, or out of its range.
    #[error("{} has to be {expected}, not {found}", named(field))]
    Value {
        /// Where, like `legs[2].price`; empty for the message itself.
        field: String,
        /// What fits there.
        expected: String,
        /// What stands there, shortened.
        found: String,
    },
    /// A field is missing.
    #[error("{} is missing", named(field))]
    Missing {
        /// Which one.
        field: String,
    },
    /// A field that the type does not have.
    #[error("there is no field {}: the fields are {known}", named(field))]
    Unknown {
        /// Which one.
        field: String,
        /// Those that the type has.
        known: String,
    },
    /// The encoded message would be larger than this function makes.
    #[error("the message would have more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// Values are nested too deeply.
    #[error("values are nested deeper than {MAX_DEPTH}")]
    Nested,
    /// The type itself is not a possible one.
    #[error("the type is not usable: {0}")]
    Layout(#[from] LayoutError),
}

/// The encoded message of a type that JSON text describes, in the form in which [`to_json`](super::to_json) writes it.
///
/// Every field has to be there, and no other. Numbers have to fit exactly, but for floats, which become the nearest one;
/// integers of 128 bits may be strings. At most 16 MiB. To be published by a publisher that
/// [`encoded_as`](crate::PublisherBuilder::encoded_as) opens.
///
/// ```
/// use ringmain::message::{Message, from_json, to_json};
///
/// #[derive(ringmain::rkyv::Archive, ringmain::rkyv::Serialize, ringmain::Message)]
/// #[rkyv(crate = ringmain::rkyv)]
/// #[message(name = "md.quote")]
/// struct Quote {
///     bid: f64,
///     ask: f64,
/// }
///
/// let bytes = from_json(Quote::message_type(), r#"{"bid": 1.1, "ask": 1.2}"#)?;
/// assert_eq!(to_json(Quote::message_type(), &bytes)?, r#"{"bid":1.1,"ask":1.2}"#);
/// let error = from_json(Quote::message_type(), r#"{"bid": "high", "ask": 1.2}"#).unwrap_err();
/// assert_eq!(error.to_string(), "`bid` has to be a number (f64), not \"high\"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`FromJsonError`], which names the field.
pub fn from_json(message_type: &MessageType, text: &str) -> Result<Vec<u8>, FromJsonError> {
    message_type.validate()?;
    let value: Value = serde_json::from_str(text).map_err(FromJsonError::Text)?;
    let mut encoder = Encoder {
        message_type,
        out: Vec::new(),
        room: MOST_BYTES,
    };
    let root = encoder.entry(TypeIndex(0))?;
    if root.kind == Kind::Raw {
        let text = value
            .as_str()
            .ok_or_else(|| unfit(&value, "a string".into()))?;
        return Ok(text.as_bytes().to_vec());
    }
    if let Kind::Tail {
        header, element, ..
    } = root.kind
    {
        return encoder.tailed(header, element, root.size_bytes as usize, &value);
    }
    let mut piece = encoder.piece(root.size_bytes as usize)?;
    encoder.value(TypeIndex(0), &value, &mut piece, 0, 0)?;
    encoder.place(piece, root.align_bytes as usize);
    Ok(encoder.out)
}

/// Values that stand together, with pointers to what stands before them.
struct Piece {
    bytes: Vec<u8>,
    /// Where in the piece an offset is stored, from where it counts, and where in the message it leads.
    pointers: Vec<Pointer>,
}

struct Pointer {
    stored_at: usize,
    base: usize,
    target: usize,
}

struct Encoder<'a> {
    message_type: &'a MessageType,
    out: Vec<u8>,
    /// Bytes that pieces may still have.
    room: usize,
}

impl<'a> Encoder<'a> {
    fn value(
        &mut self,
        index: TypeIndex,
        value: &Value,
        piece: &mut Piece,
        at: usize,
        depth: usize,
    ) -> Result<(), FromJsonError> {
        if depth > MAX_DEPTH {
            return Err(FromJsonError::Nested);
        }
        match &self.entry(index)?.kind {
            Kind::Struct(fields) => self.fields(fields, value, piece, at, depth),
            Kind::Enum(variants) => self.variant(variants, value, piece, at, depth),
            Kind::Array { element, len } => {
                let elements = array(value, Some(*len as usize))?;
                self.elements(*element, elements, piece, at, depth)
            }
            Kind::List(element) => {
                let elements = array(value, None)?;
                let layout = self.entry(*element)?;
                let size = (layout.size_bytes as usize).saturating_mul(elements.len());
                let mut list = self.piece(size)?;
                self.elements(*element, elements, &mut list, 0, depth)?;
                let target = self.place(list, layout.align_bytes as usize);
                piece.point(at, at, target);
                piece.store(at + 4, &(elements.len() as u32).to_le_bytes());
                Ok(())
            }
            Kind::Option(_) if value.is_null() => Ok(()),
            Kind::Option(inner) => {
                piece.store(at, &[1]);
                let align = self.entry(*inner)?.align_bytes as usize;
                self.value(*inner, value, piece, at + align, depth + 1)
            }
            Kind::Boxed(inner) => {
                let layout = self.entry(*inner)?;
                let mut boxed = self.piece(layout.size_bytes as usize)?;
                self.value(*inner, value, &mut boxed, 0, depth + 1)?;
                let target = self.place(boxed, layout.align_bytes as usize);
                piece.point(at, at, target);
                Ok(())
            }
            Kind::String => self.string(value, piece, at),
            plain => store_plain(plain, value, |bytes| piece.store(at, bytes))
                .map_err(|expected| unfit(value, expected)),
        }
    }

    /// A message with a tail, which begins at `start`; nothing in it points elsewhere.
    fn tailed(
        &mut self,
        header: TypeIndex,
        element: TypeIndex,
        start: usize,
        value: &Value,
    ) -> Result<Vec<u8>, FromJsonError> {
        let known = |name: &str| {
            let fields = value.as_object();
            let fields = fields.filter(|fields| fields.len() == 2);
            fields.and_then(|fields| fields.get(name))
        };
        let unit = self.entry(header)?.kind == Kind::Unit;
        let (head, tail) = match (known("header"), known("tail")) {
            _ if unit => (&Value::Null, value),
            (Some(head), Some(tail)) => (head, tail),
            _ => return Err(unfit(value, "an object of `header` and `tail`".into())),
        };
        let elements = array(tail, None).map_err(|error| match unit {
            true => error,
            false => error.within("tail"),
        })?;
        let size = (self.entry(element)?.size_bytes as usize).saturating_mul(elements.len());
        let mut piece = self.piece(start.saturating_add(size))?;
        self.value(header, head, &mut piece, 0, 1)
            .map_err(|error| error.within("header"))?;
        self.elements(element, elements, &mut piece, start, 1)
            .map_err(|error| error.within("tail"))?;
        Ok(piece.bytes)
    }

    fn fields(
        &mut self,
        fields: &[Field],
        value: &Value,
        piece: &mut Piece,
        at: usize,
        depth: usize,
    ) -> Result<(), FromJsonError> {
        let mut put = |field: &Field, value: &Value| {
            let at = at + field.offset_bytes as usize;
            self.value(field.layout, value, piece, at, depth + 1)
        };
        match fields {
            [only] if only.name == "0" => put(only, value),
            [first, ..] if first.name == "0" => {
                let values = array(value, Some(fields.len()))?;
                let mut elements = fields.iter().zip(values).enumerate();
                elements.try_for_each(|(position, (field, value))| {
                    put(field, value).map_err(|error| error.within(&format!("[{position}]")))
                })
            }
            _ => {
                let values = value.as_object();
                let values = values.ok_or_else(|| unfit(value, "an object".into()))?;
                let is_known = |name: &String| fields.iter().any(|field| field.name == *name);
                if let Some(name) = values.keys().find(|name| !is_known(name)) {
                    let known: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
                    return Err(FromJsonError::Unknown {
                        field: name.clone(),
                        known: known.join(", "),
                    });
                }
                fields.iter().try_for_each(|field| {
                    let missing = || FromJsonError::Missing {
                        field: field.name.clone(),
                    };
                    let value = values.get(&field.name).ok_or_else(missing)?;
                    put(field, value).map_err(|error| error.within(&field.name))
                })
            }
        }
    }

    fn variant(
        &mut self,
        variants: &[Variant],
        value: &Value,
        piece: &mut Piece,
        at: usize,
        depth: usize,
    ) -> Result<(), FromJsonError> {
        let (name, content) = match value {
            Value::String(name) => (Some(name), None),
            Value::Object(object) if object.len() == 1 => {
                let entry = object.iter().next();
                (entry.map(|(name, _)| name), entry.map(|(_, value)| value))
            }
            _ => (None, None),
        };
        let variant = variants.iter().find(|variant| {
            Some(&variant.name) == name && variant.fields.is_empty() == content.is_none()
        });
        let Some(variant) = variant else {
            let names = variants
                .iter()
                .map(|variant| match variant.fields.is_empty() {
                    true => format!("{:?}", variant.name),
                    false => format!("{{{:?}: ..}}", variant.name),
                });
            let expected = names.collect::<Vec<_>>().join(" or ");
            return Err(unfit(value, expected));
        };
        piece.store(at, &[variant.tag]);
        match content {
            None => Ok(()),
            Some(content) => self
                .fields(&variant.fields, content, piece, at, depth)
                .map_err(|error| error.within(&variant.name)),
        }
    }

    fn elements(
        &mut self,
        element: TypeIndex,
        values: &[Value],
        piece: &mut Piece,
        at: usize,
        depth: usize,
    ) -> Result<(), FromJsonError> {
        let size = self.entry(element)?.size_bytes as usize;
        for (position, value) in values.iter().enumerate() {
            self.value(element, value, piece, at + position * size, depth + 1)
                .map_err(|error| error.within(&format!("[{position}]")))?;
        }
        Ok(())
    }

    fn string(&mut self, value: &Value, piece: &mut Piece, at: usize) -> Result<(), FromJsonError> {
        let text = value.as_str();
        let text = text
            .ok_or_else(|| unfit(value, "a string".into()))?
            .as_bytes();
        if text.len() <= INLINE_TEXT_BYTES {
            piece.store(at, &[0xff; INLINE_TEXT_BYTES]);
            piece.store(at, text);
            return Ok(());
        }
        let len = text.len();
        let mut long = self.piece(text.len())?;
        long.store(0, text);
        let target = self.place(long, 1);
        // The length leaves the mark's two bits out; see `Kind::String`.
        let word = (len & 0x3f) | 0x80 | ((len & !0x3f) << 2);
        piece.store(at, &(word as u32).to_le_bytes());
        piece.point(at + 4, at, target);
        Ok(())
    }

    /// Room for values. What a hostile layout can ask for is bounded, all pieces together.
    fn piece(&mut self, size: usize) -> Result<Piece, FromJsonError> {
        self.room = self.room.checked_sub(size).ok_or(TOO_LARGE)?;
        Ok(Piece {
            bytes: vec![0; size],
            pointers: Vec::new(),
        })
    }

    /// Appends a piece, aligned; where it stands.
    fn place(&mut self, mut piece: Piece, align: usize) -> usize {
        let at = self.out.len().next_multiple_of(align);
        for pointer in std::mem::take(&mut piece.pointers) {
            // Both are small: the room for pieces is.
            let offset = pointer.target as i64 - (at + pointer.base) as i64;
            piece.store(pointer.stored_at, &(offset as i32).to_le_bytes());
        }
        self.out.resize(at, 0);
        self.out.extend_from_slice(&piece.bytes);
        at
    }

    fn entry(&self, index: TypeIndex) -> Result<&'a TypeLayout, FromJsonError> {
        let layout = self.message_type.layout.type_at(index);
        Ok(layout.expect("a validated layout has the types that it refers to"))
    }
}

impl Piece {
    /// Nothing is written beyond the piece, whatever a layout says.
    fn store(&mut self, at: usize, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    fn point(&mut self, stored_at: usize, base: usize, target: usize) {
        self.pointers.push(Pointer {
            stored_at,
            base,
            target,
        });
    }
}

fn array(value: &Value, len: Option<usize>) -> Result<&[Value], FromJsonError> {
    match (value, len) {
        (Value::Array(values), None) => Ok(values),
        (Value::Array(values), Some(len)) if values.len() == len => Ok(values),
        (_, None) => Err(unfit(value, "an array".into())),
        (_, Some(len)) => Err(unfit(value, format!("an array of {len}"))),
    }
}

fn unfit(value: &Value, expected: String) -> FromJsonError {
    let text = value.to_string();
    let mut found: String = text.chars().take(SHOWN_CHARS).collect();
    if found.len() < text.len() {
        found.push_str("..");
    }
    FromJsonError::Value {
        field: String::new(),
        expected,
        found,
    }
}

impl FromJsonError {
    /// The same, seen from outside of a field or an element.
    fn within(mut self, step: &str) -> Self {
        if let Self::Value { field, .. } | Self::Missing { field } | Self::Unknown { field, .. } =
            &mut self
        {
            *field = match field.as_str() {
                "" => step.to_owned(),
                inner if inner.starts_with('[') => format!("{step}{inner}"),
                inner => format!("{step}.{inner}"),
            };
        }
        self
    }
}

fn named(field: &str) -> String {
    match field {
        "" => "the message".to_owned(),
        field => format!("`{field}`"),
    }
}

const TOO_LARGE: FromJsonError = FromJsonError::TooLarge {
    limit_bytes: MOST_BYTES,
};

/// Text of tools; also what a peer's layout can make this allocate.
const MOST_BYTES: usize = 16 << 20;
/// As for the way back.
const MAX_DEPTH: usize = 512;
const INLINE_TEXT_BYTES: usize = 8;
const SHOWN_CHARS: usize = 40;
