//! How the archived form of a type lies in memory.

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

/// A table of types that name each other by index; the first is the message itself.
///
/// One that [`Layout::of`] made is canonical: equal layouts are equal tables. One that came from a peer can be anything
/// until [`Layout::validate`] has passed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The types; at least one.
    pub types: Vec<TypeLayout>,
}

/// Index of a type in its [`Layout`].
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
)]
pub struct TypeIndex(pub u32);

/// The archived form of one type.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
pub struct TypeLayout {
    /// Size, without what it points to; a multiple of the alignment.
    pub size_bytes: u32,
    /// Alignment; a power of two up to 16.
    pub align_bytes: u32,
    /// What it is.
    pub kind: Kind,
}

/// What the bytes of a type mean. Numbers are little endian. Offsets to data elsewhere in the message are `i32`, relative to
/// their own place; lengths are `u32`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// No bytes.
    Unit,
    /// One byte, 0 or 1.
    Bool,
    /// An unsigned integer.
    Unsigned {
        /// 8, 16, 32, 64 or 128.
        bits: u8,
    },
    /// A signed integer in two's complement.
    Signed {
        /// 8, 16, 32, 64 or 128.
        bits: u8,
    },
    /// An IEEE 754 number.
    Float {
        /// 32 or 64.
        bits: u8,
    },
    /// A Unicode scalar value in four bytes.
    Char,
    /// UTF-8 text in eight bytes: up to eight bytes of text, filled up with 0xff; or, where the first byte is `0b10......`, its
    /// length (the two bits of that mark left out) with an offset to it.
    String,
    /// Fields, one after the other.
    Struct(Vec<Field>),
    /// A tag in the first byte, with the fields of the variant that it names behind it.
    Enum(Vec<Variant>),
    /// An offset to elements with their number.
    List(TypeIndex),
    /// Elements, one after the other.
    Array {
        /// Their type.
        element: TypeIndex,
        /// Their number.
        len: u32,
    },
    /// A byte, 0 for none; for 1 the value behind it, at the first place where it is aligned.
    Option(TypeIndex),
    /// An offset to a value.
    Boxed(TypeIndex),
    /// The whole message, as it is.
    Raw,
    /// The whole message: a header in its first bytes, then elements to its end, the first at the size of this type. Nothing in
    /// them points elsewhere.
    Tail {
        /// The type of the header; a unit if there is none.
        header: TypeIndex,
        /// The type of the elements.
        element: TypeIndex,
        /// The first element stands at the next multiple of this behind the header, in bytes; a power of two up to 4096.
        align_bytes: u32,
    },
}

/// A field of a struct or of a variant.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Its name; the position, from 0, if it has none.
    pub name: String,
    /// Where it starts in the struct or enum, in bytes.
    pub offset_bytes: u32,
    /// Its type.
    pub layout: TypeIndex,
}

/// A variant of an enum.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// The first byte of such a value.
    pub tag: u8,
    /// Its fields; none for a plain name.
    pub fields: Vec<Field>,
}

impl Layout {
    /// The type at an index, if there is one.
    pub fn type_at(&self, index: TypeIndex) -> Option<&TypeLayout> {
        self.types.get(usize::try_from(index.0).ok()?)
    }

    /// A type in a reader's words, like `f64` or `Vec<String>`.
    pub fn type_name(&self, index: TypeIndex) -> impl fmt::Display + '_ {
        TypeName {
            layout: self,
            index,
            nesting: 0,
        }
    }
}

impl Kind {
    /// The types that it names, in the order in which they stand.
    pub fn references(&self) -> Vec<TypeIndex> {
        match self {
            Self::Struct(fields) => fields.iter().map(|field| field.layout).collect(),
            Self::Enum(variants) => variants
                .iter()
                .flat_map(|variant| &variant.fields)
                .map(|field| field.layout)
                .collect(),
            Self::List(index) | Self::Option(index) | Self::Boxed(index) => vec![*index],
            Self::Array { element, .. } => vec![*element],
            Self::Tail {
                header, element, ..
            } => vec![*header, *element],
            _ => Vec::new(),
        }
    }

    /// The same with other indices.
    pub(super) fn renumbered(&self, number: impl Fn(TypeIndex) -> TypeIndex) -> Self {
        let renumber = |fields: &[Field]| -> Vec<Field> {
            fields
                .iter()
                .map(|field| Field {
                    layout: number(field.layout),
                    ..field.clone()
                })
                .collect()
        };
        match self {
            Self::Struct(fields) => Self::Struct(renumber(fields)),
            Self::Enum(variants) => Self::Enum(
                variants
                    .iter()
                    .map(|variant| Variant {
                        fields: renumber(&variant.fields),
                        ..variant.clone()
                    })
                    .collect(),
            ),
            Self::List(index) => Self::List(number(*index)),
            Self::Array { element, len } => Self::Array {
                element: number(*element),
                len: *len,
            },
            Self::Option(index) => Self::Option(number(*index)),
            Self::Boxed(index) => Self::Boxed(number(*index)),
            Self::Tail {
                header,
                element,
                align_bytes,
            } => Self::Tail {
                header: number(*header),
                element: number(*element),
                align_bytes: *align_bytes,
            },
            plain => plain.clone(),
        }
    }
}

struct TypeName<'a> {
    layout: &'a Layout,
    index: TypeIndex,
    nesting: u8,
}

impl fmt::Display for TypeName<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |index: &TypeIndex| TypeName {
            layout: self.layout,
            index: *index,
            nesting: self.nesting + 1,
        };
        let Some(layout) = self
            .layout
            .type_at(self.index)
            .filter(|_| self.nesting < NAMED_NESTING)
        else {
            return formatter.write_str("..");
        };
        match &layout.kind {
            Kind::Unit => formatter.write_str("()"),
            Kind::Bool => formatter.write_str("bool"),
            Kind::Unsigned { bits } => write!(formatter, "u{bits}"),
            Kind::Signed { bits } => write!(formatter, "i{bits}"),
            Kind::Float { bits } => write!(formatter, "f{bits}"),
            Kind::Char => formatter.write_str("char"),
            Kind::String => formatter.write_str("String"),
            Kind::Struct(fields) => write!(formatter, "a struct of {} fields", fields.len()),
            Kind::Enum(variants) => write!(formatter, "an enum of {} variants", variants.len()),
            Kind::List(element) => write!(formatter, "Vec<{}>", inner(element)),
            Kind::Array { element, len } => write!(formatter, "[{}; {len}]", inner(element)),
            Kind::Option(value) => write!(formatter, "Option<{}>", inner(value)),
            Kind::Boxed(value) => write!(formatter, "Box<{}>", inner(value)),
            Kind::Raw => formatter.write_str("raw bytes"),
            Kind::Tail {
                header, element, ..
            } => write!(formatter, "{} with [{}]", inner(header), inner(element)),
        }
    }
}

/// How many type parameters a name shows inside each other; a peer's table can be a circle.
const NAMED_NESTING: u8 = 8;
