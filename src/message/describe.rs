//! How a Rust type says what its archived form looks like.

use std::any::TypeId;
use std::collections::HashMap;

use rkyv::Archive;

use super::canonical::canonical;
use super::{AnyBits, Field, Kind, Layout, TypeIndex, TypeLayout, Variant};

/// A type that can be a part of a message.
///
/// Implemented for `bool`, numbers of a fixed size, `char`, `String`, `()`, `Vec`, `Box`, `Option`, arrays, tuples of two to
/// four; derive it (`#[derive(ringmain::Describe)]`) for your own types that messages contain.
///
/// `usize` is left out, since it has another width in another process and a narrower one in an archive; and so are lists of
/// elements without a size, of which a peer could claim four billion in no bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a message",
    note = "derive `ringmain::Describe` beside `rkyv::Archive` and `rkyv::Serialize` for a type of your own",
    note = "use `u32` or `u64` in place of `usize`, and a `Vec` of pairs in place of a map"
)]
pub trait Describe: Archive + 'static {
    /// Whether every pattern of bits is a value; the derive macros tell it of a struct by its fields.
    const ANY_BITS: AnyBits<Self> = AnyBits::UNKNOWN;

    /// What the archived form is; the types that it contains get their index from `types`.
    fn kind(types: &mut LayoutBuilder) -> Kind;
}

/// Collects the types of a [`Layout`], each once.
#[derive(Debug, Default)]
pub struct LayoutBuilder {
    types: Vec<TypeLayout>,
    indices: HashMap<TypeId, TypeIndex>,
}

/// Lays out the fields of one variant the way that `repr(u8)` does: as a `repr(C)` struct whose first field is the tag.
#[derive(Debug)]
pub struct VariantBuilder<'a> {
    types: &'a mut LayoutBuilder,
    variant: Variant,
    end: usize,
}

impl Layout {
    /// The layout of a type.
    pub fn of<T: Describe>() -> Self {
        let mut builder = LayoutBuilder::default();
        builder.index_of::<T>();
        canonical(&Self {
            types: builder.types,
        })
    }

    /// The layout of a message that is a header `H` with elements `E` behind it, from the next multiple of `align` on.
    pub(super) fn with_tail<H: Describe, E: Describe>(align: usize) -> Self {
        let mut builder = LayoutBuilder::default();
        builder.types.push(TypeLayout {
            size_bytes: narrow(size_of::<H::Archived>().next_multiple_of(align)),
            align_bytes: narrow(align_of::<H::Archived>().max(align_of::<E::Archived>())),
            kind: Kind::Unit,
        });
        builder.types[0].kind = Kind::Tail {
            header: builder.index_of::<H>(),
            element: builder.index_of::<E>(),
            align_bytes: narrow(align),
        };
        canonical(&Self {
            types: builder.types,
        })
    }
}

impl LayoutBuilder {
    /// The index of a type, which is added first if it is new. A type may contain itself, behind a `Box` or `Vec`.
    pub fn index_of<T: Describe>(&mut self) -> TypeIndex {
        let next = TypeIndex(narrow(self.types.len()));
        let index = *self.indices.entry(TypeId::of::<T>()).or_insert(next);
        if index == next {
            let size_bytes = narrow(size_of::<T::Archived>());
            let align_bytes = narrow(align_of::<T::Archived>());
            self.types.push(TypeLayout {
                size_bytes,
                align_bytes,
                kind: Kind::Unit,
            });
            let kind = T::kind(self);
            self.types[index.0 as usize].kind = kind;
        }
        index
    }

    /// A field of type `T` at an offset.
    pub fn field<T: Describe>(&mut self, name: &str, offset_bytes: usize) -> Field {
        Field {
            name: name.to_owned(),
            offset_bytes: narrow(offset_bytes),
            layout: self.index_of::<T>(),
        }
    }

    /// Starts a variant.
    pub fn variant(&mut self, name: &str, tag: u8) -> VariantBuilder<'_> {
        VariantBuilder {
            types: self,
            variant: Variant {
                name: name.to_owned(),
                tag,
                fields: Vec::new(),
            },
            end: 1,
        }
    }
}

impl VariantBuilder<'_> {
    /// Adds the next field.
    pub fn field<T: Describe>(mut self, name: &str) -> Self {
        let offset = self.end.next_multiple_of(align_of::<T::Archived>());
        self.end = offset + size_of::<T::Archived>();
        self.variant
            .fields
            .push(self.types.field::<T>(name, offset));
        self
    }

    /// The variant.
    pub fn finish(self) -> Variant {
        self.variant
    }
}

impl<T: Describe> Describe for Vec<T> {
    fn kind(types: &mut LayoutBuilder) -> Kind {
        const {
            assert!(
                size_of::<T::Archived>() > 0,
                "elements of a list in a message need a size"
            )
        }
        Kind::List(types.index_of::<T>())
    }
}

impl<T: Describe> Describe for Box<[T]> {
    fn kind(types: &mut LayoutBuilder) -> Kind {
        Vec::<T>::kind(types)
    }
}

impl<T: Describe, const N: usize> Describe for [T; N] {
    const ANY_BITS: AnyBits<Self> = AnyBits::of_array(T::ANY_BITS);

    fn kind(types: &mut LayoutBuilder) -> Kind {
        const {
            assert!(
                size_of::<T::Archived>() > 0,
                "elements of an array in a message need a size"
            )
        }
        Kind::Array {
            element: types.index_of::<T>(),
            len: narrow(N),
        }
    }
}

impl<T: Describe> Describe for Box<T> {
    fn kind(types: &mut LayoutBuilder) -> Kind {
        Kind::Boxed(types.index_of::<T>())
    }
}

impl<T: Describe> Describe for Option<T> {
    fn kind(types: &mut LayoutBuilder) -> Kind {
        Kind::Option(types.index_of::<T>())
    }
}

macro_rules! describe_plain {
    ($($type:ty: $kind:expr),+ $(,)?) => {$(
        impl Describe for $type {
            fn kind(_: &mut LayoutBuilder) -> Kind {
                $kind
            }
        }
    )+};
}

macro_rules! describe_number {
    ($($type:ty: $kind:expr),+ $(,)?) => {$(
        impl Describe for $type {
            const ANY_BITS: AnyBits<Self> = AnyBits::NUMBER;

            fn kind(_: &mut LayoutBuilder) -> Kind {
                $kind
            }
        }
    )+};
}

macro_rules! describe_tuple {
    ($($type:ident $position:tt),+) => {
        impl<$($type: Describe),+> Describe for ($($type,)+) {
            fn kind(types: &mut LayoutBuilder) -> Kind {
                Kind::Struct(vec![$(types.field::<$type>(
                    stringify!($position),
                    std::mem::offset_of!(Self::Archived, $position),
                )),+])
            }
        }
    };
}

describe_plain! {
    (): Kind::Unit,
    bool: Kind::Bool,
    char: Kind::Char,
    String: Kind::String,
}

describe_number! {
    u8: Kind::Unsigned { bits: 8 },
    u16: Kind::Unsigned { bits: 16 },
    u32: Kind::Unsigned { bits: 32 },
    u64: Kind::Unsigned { bits: 64 },
    u128: Kind::Unsigned { bits: 128 },
    i8: Kind::Signed { bits: 8 },
    i16: Kind::Signed { bits: 16 },
    i32: Kind::Signed { bits: 32 },
    i64: Kind::Signed { bits: 64 },
    i128: Kind::Signed { bits: 128 },
    f32: Kind::Float { bits: 32 },
    f64: Kind::Float { bits: 64 },
}

describe_tuple!(A 0, B 1);
describe_tuple!(A 0, B 1, C 2);
describe_tuple!(A 0, B 1, C 2, D 3);

fn narrow(quantity: usize) -> u32 {
    u32::try_from(quantity)
        .expect("an archived type is smaller than 4 GiB, since offsets in it are 32 bits wide")
}
