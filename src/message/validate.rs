//! Checks a message type that came from a peer.

use thiserror::Error;

use super::{Field, Kind, Layout, MessageType, TypeIndex, TypeLayout, Variant};

/// What is wrong with a message type that a peer sent. `at` is the index of the type in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The table has no types, or too many.
    #[error("a layout has 1 to {MAX_TYPES} types, this one has {count}")]
    Types {
        /// Types that it has.
        count: usize,
    },
    /// Fields and variants together are too many.
    #[error("a layout has at most {MAX_MEMBERS} fields and variants, this one has more")]
    Members,
    /// A name is empty or too long.
    #[error("a name of type {at} has {len_bytes} bytes, not 1 to {MAX_NAME_BYTES}")]
    Name {
        /// The type.
        at: usize,
        /// The length of the name.
        len_bytes: usize,
    },
    /// A type refers to one that is not there.
    #[error("type {at} refers to type {index}, which is not there")]
    Reference {
        /// The type.
        at: usize,
        /// What it refers to.
        index: u32,
    },
    /// Size, alignment and kind do not go together.
    #[error("type {at} has a size or alignment that its kind cannot have")]
    Shape {
        /// The type.
        at: usize,
    },
    /// A part leaves the type that it is in.
    #[error("a part of type {at} ends at byte {end_bytes}, behind the type's {size_bytes}")]
    Outside {
        /// The type.
        at: usize,
        /// Where the part ends.
        end_bytes: u64,
        /// Where the type ends.
        size_bytes: u32,
    },
    /// Types contain each other too deeply, or in a circle.
    #[error("type {at} is nested deeper than {MAX_NESTING}")]
    Nested {
        /// The type.
        at: usize,
    },
    /// The fingerprint is not that of the layout.
    #[error("the fingerprint is {claimed:016x}, that of the layout {computed:016x}")]
    Fingerprint {
        /// What the peer said.
        claimed: u64,
        /// What it is.
        computed: u64,
    },
}

impl MessageType {
    /// Checks a type that came from a peer: its name, its layout, and that the fingerprint is theirs.
    ///
    /// # Errors
    /// The first violation.
    pub fn validate(&self) -> Result<(), LayoutError> {
        check_name(0, &self.name)?;
        self.layout.validate()?;
        let computed = self.computed_fingerprint();
        if computed != self.fingerprint {
            return Err(LayoutError::Fingerprint {
                claimed: self.fingerprint,
                computed,
            });
        }
        Ok(())
    }
}

impl Layout {
    /// Checks a layout that came from a peer: sizes of the table, indices, that every part lies within its whole, and that no
    /// type contains itself other than behind an offset.
    ///
    /// # Errors
    /// The first violation.
    pub fn validate(&self) -> Result<(), LayoutError> {
        let count = self.types.len();
        if count == 0 || count > MAX_TYPES {
            return Err(LayoutError::Types { count });
        }
        let members: usize = self.types.iter().map(|entry| members(&entry.kind)).sum();
        if members > MAX_MEMBERS {
            return Err(LayoutError::Members);
        }
        for (at, entry) in self.types.iter().enumerate() {
            let plain = entry.align_bytes.is_power_of_two() && entry.align_bytes <= MAX_ALIGN_BYTES;
            if !plain || !entry.size_bytes.is_multiple_of(entry.align_bytes) {
                return Err(LayoutError::Shape { at });
            }
            self.check_kind(at, entry)?;
        }
        let mut heights = vec![0; count];
        (0..count).try_for_each(|at| self.height(at, 0, &mut heights).map(drop))
    }

    fn check_kind(&self, at: usize, entry: &TypeLayout) -> Result<(), LayoutError> {
        let sized = |size: u32| {
            if entry.size_bytes == size {
                Ok(())
            } else {
                Err(LayoutError::Shape { at })
            }
        };
        match &entry.kind {
            Kind::Unit => sized(0),
            Kind::Bool => sized(1),
            Kind::Unsigned {
                bits: bits @ (8 | 16 | 32 | 64 | 128),
            } => sized(u32::from(*bits) / 8),
            Kind::Signed {
                bits: bits @ (8 | 16 | 32 | 64 | 128),
            } => sized(u32::from(*bits) / 8),
            Kind::Float {
                bits: bits @ (32 | 64),
            } => sized(u32::from(*bits) / 8),
            Kind::Unsigned { .. } | Kind::Signed { .. } | Kind::Float { .. } => {
                Err(LayoutError::Shape { at })
            }
            Kind::Char => sized(4),
            Kind::String => sized(8),
            Kind::Struct(fields) => self.check_fields(at, entry, fields, 0),
            Kind::Enum(variants) => self.check_variants(at, entry, variants),
            Kind::List(element) => {
                self.check_element(at, *element)?;
                sized(8)
            }
            Kind::Array { element, len } => {
                let size = self.check_element(at, *element)?.size_bytes;
                sized(size.checked_mul(*len).ok_or(LayoutError::Shape { at })?)
            }
            Kind::Option(value) => {
                let value = self.referred(at, *value)?;
                check_end(
                    at,
                    entry,
                    u64::from(value.align_bytes) + u64::from(value.size_bytes),
                )
            }
            Kind::Boxed(value) => {
                self.referred(at, *value)?;
                sized(4)
            }
            Kind::Raw if self.types.len() == 1 => sized(0),
            Kind::Raw => Err(LayoutError::Shape { at }),
            Kind::Tail {
                header,
                element,
                align_bytes,
            } => self.check_tail(at, entry, (*header, *element), *align_bytes),
        }
    }

    /// Only a message has a tail, and nothing in it points elsewhere.
    fn check_tail(
        &self,
        at: usize,
        entry: &TypeLayout,
        (header, element): (TypeIndex, TypeIndex),
        align_bytes: u32,
    ) -> Result<(), LayoutError> {
        let (header, element) = (self.referred(at, header)?, self.check_element(at, element)?);
        let aligned = align_bytes.is_power_of_two()
            && (element.align_bytes..=MAX_TAIL_ALIGN_BYTES).contains(&align_bytes);
        let points = |part: &TypeLayout| {
            matches!(
                part.kind,
                Kind::String | Kind::List(_) | Kind::Boxed(_) | Kind::Raw | Kind::Tail { .. }
            )
        };
        let flat = at == 0 && !self.types[1..].iter().any(points);
        let offset = header
            .size_bytes
            .checked_next_multiple_of(align_bytes.max(1));
        match aligned && flat && offset == Some(entry.size_bytes) {
            true => Ok(()),
            false => Err(LayoutError::Shape { at }),
        }
    }

    fn referred(&self, at: usize, index: TypeIndex) -> Result<&TypeLayout, LayoutError> {
        self.type_at(index)
            .ok_or(LayoutError::Reference { at, index: index.0 })
    }

    /// Elements need a size, else a few bytes could claim four billion of them.
    fn check_element(&self, at: usize, index: TypeIndex) -> Result<&TypeLayout, LayoutError> {
        self.referred(at, index)
            .and_then(|element| match element.size_bytes {
                0 => Err(LayoutError::Shape { at }),
                _ => Ok(element),
            })
    }

    fn check_fields(
        &self,
        at: usize,
        parent: &TypeLayout,
        fields: &[Field],
        start: u32,
    ) -> Result<(), LayoutError> {
        fields.iter().try_for_each(|field| {
            check_name(at, &field.name)?;
            let part = self.referred(at, field.layout)?;
            let aligned = field.offset_bytes.checked_rem(part.align_bytes) == Some(0);
            if !aligned || field.offset_bytes < start {
                return Err(LayoutError::Shape { at });
            }
            check_end(
                at,
                parent,
                u64::from(field.offset_bytes) + u64::from(part.size_bytes),
            )
        })
    }

    fn check_variants(
        &self,
        at: usize,
        parent: &TypeLayout,
        variants: &[Variant],
    ) -> Result<(), LayoutError> {
        let mut tags = [false; 256];
        check_end(at, parent, 1)?;
        variants.iter().try_for_each(|variant| {
            check_name(at, &variant.name)?;
            if std::mem::replace(&mut tags[usize::from(variant.tag)], true) {
                return Err(LayoutError::Shape { at });
            }
            self.check_fields(at, parent, &variant.fields, 1)
        })
    }

    /// How many types are inside each other here, not counting what lies behind an offset. Ends for circles, too, because `level`
    /// is bounded.
    fn height(&self, at: usize, level: usize, heights: &mut [usize]) -> Result<usize, LayoutError> {
        if heights[at] > 0 {
            return Ok(heights[at]);
        }
        if level >= MAX_NESTING {
            return Err(LayoutError::Nested { at });
        }
        let mut height = 1;
        if !matches!(self.types[at].kind, Kind::List(_) | Kind::Boxed(_)) {
            for part in self.types[at].kind.references() {
                height = height.max(1 + self.height(part.0 as usize, level + 1, heights)?);
            }
        }
        if height > MAX_NESTING {
            return Err(LayoutError::Nested { at });
        }
        heights[at] = height;
        Ok(height)
    }
}

fn members(kind: &Kind) -> usize {
    match kind {
        Kind::Struct(fields) => fields.len(),
        Kind::Enum(variants) => variants
            .iter()
            .map(|variant| 1 + variant.fields.len())
            .sum(),
        _ => 0,
    }
}

fn check_name(at: usize, name: &str) -> Result<(), LayoutError> {
    match name.len() {
        1..=MAX_NAME_BYTES => Ok(()),
        len_bytes => Err(LayoutError::Name { at, len_bytes }),
    }
}

fn check_end(at: usize, parent: &TypeLayout, end_bytes: u64) -> Result<(), LayoutError> {
    let size_bytes = parent.size_bytes;
    if end_bytes > u64::from(size_bytes) {
        Err(LayoutError::Outside {
            at,
            end_bytes,
            size_bytes,
        })
    } else {
        Ok(())
    }
}

/// Types in a layout.
pub const MAX_TYPES: usize = 1024;
/// Fields and variants in a layout.
pub const MAX_MEMBERS: usize = 8192;
/// Bytes of a name: of a message type, a field, a variant.
pub const MAX_NAME_BYTES: usize = 255;
/// Types inside each other, not counting what lies behind an offset. Those who walk a layout recurse that deep.
pub const MAX_NESTING: usize = 64;

/// The largest alignment of a tail.
const MAX_TAIL_ALIGN_BYTES: u32 = 4096;
/// The alignment of payloads.
const MAX_ALIGN_BYTES: u32 = 16;
