//! Where two message types part, in a reader's words.

use std::collections::HashSet;

use thiserror::Error;

use super::{Field, Kind, Layout, MessageType, TypeIndex, Variant};

/// The first difference between a message type (here) and a peer's (there).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Difference {
    /// Their names differ.
    #[error("the type is named `{here}` here, `{there}` there")]
    Name {
        /// The name here.
        here: String,
        /// The name there.
        there: String,
    },
    /// Their versions differ.
    #[error("the version is {here} here, {there} there")]
    Version {
        /// The version here.
        here: u32,
        /// The version there.
        there: u32,
    },
    /// A field or variant exists on one side only.
    #[error("{member} `{path}` is missing {side}")]
    Missing {
        /// `field` or `variant`.
        member: &'static str,
        /// Its name, with the fields that lead to it.
        path: String,
        /// `here` or `there`.
        side: &'static str,
    },
    /// A field has another type.
    #[error("field `{path}` at offset {offset_bytes} is {here} here, {there} there")]
    FieldType {
        /// Its name, with the fields that lead to it.
        path: String,
        /// Where it is here, in the type that it is a field of.
        offset_bytes: u32,
        /// The type here.
        here: String,
        /// The type there.
        there: String,
    },
    /// A field is of the same type, at another place.
    #[error("field `{path}` is at offset {here} here, {there} there")]
    Offset {
        /// Its name, with the fields that lead to it.
        path: String,
        /// The offset here.
        here: u32,
        /// The offset there.
        there: u32,
    },
    /// A variant has another tag.
    #[error("variant `{path}` has tag {here} here, {there} there")]
    Tag {
        /// Its name, with the fields that lead to it.
        path: String,
        /// The tag here.
        here: u8,
        /// The tag there.
        there: u8,
    },
    /// The whole message is of another kind.
    #[error("the message is {here} here, {there} there")]
    Message {
        /// The kind here.
        here: String,
        /// The kind there.
        there: String,
    },
    /// All that has a name is alike: the order of fields, a size or an alignment.
    #[error("the fields are alike, but they are laid out in another way there")]
    Arrangement,
}

/// The first difference of two message types.
pub(super) fn of_types(here: &MessageType, there: &MessageType) -> Option<Difference> {
    if here.name != there.name {
        return Some(Difference::Name {
            here: here.name.clone(),
            there: there.name.clone(),
        });
    }
    if here.version != there.version {
        return Some(Difference::Version {
            here: here.version,
            there: there.version,
        });
    }
    if here == there {
        return None;
    }
    let root = Place {
        path: String::new(),
        offset_bytes: None,
        whole: (TypeIndex(0), TypeIndex(0)),
    };
    let mut walk = Walk {
        here: &here.layout,
        there: &there.layout,
        compared: HashSet::new(),
    };
    walk.types(&root, TypeIndex(0), TypeIndex(0), 0)
        .or(Some(Difference::Arrangement))
}

struct Walk<'a> {
    here: &'a Layout,
    there: &'a Layout,
    compared: HashSet<(TypeIndex, TypeIndex)>,
}

/// Where the walk is.
struct Place {
    /// The names that lead to it.
    path: String,
    /// Offset of the last of them, a field, in its struct.
    offset_bytes: Option<u32>,
    /// The type of that field on both sides: `Vec<f64>` says more than the `f64` where the walk may be.
    whole: (TypeIndex, TypeIndex),
}

impl Walk<'_> {
    fn types(
        &mut self,
        place: &Place,
        here: TypeIndex,
        there: TypeIndex,
        depth: usize,
    ) -> Option<Difference> {
        if depth > MAX_DEPTH || !self.compared.insert((here, there)) {
            return None;
        }
        let (left, right) = (self.here, self.there);
        match (&left.type_at(here)?.kind, &right.type_at(there)?.kind) {
            (Kind::Struct(ours), Kind::Struct(theirs)) => {
                self.fields(&place.path, ours, theirs, depth)
            }
            (Kind::Enum(ours), Kind::Enum(theirs)) => {
                self.variants(&place.path, ours, theirs, depth)
            }
            (Kind::List(ours), Kind::List(theirs))
            | (Kind::Option(ours), Kind::Option(theirs))
            | (Kind::Boxed(ours), Kind::Boxed(theirs)) => {
                self.types(place, *ours, *theirs, depth + 1)
            }
            (
                Kind::Array { element: ours, len },
                Kind::Array {
                    element: theirs,
                    len: other,
                },
            ) if len == other => self.types(place, *ours, *theirs, depth + 1),
            (
                Kind::Tail {
                    header,
                    element,
                    align_bytes,
                },
                Kind::Tail {
                    header: their_header,
                    element: their_element,
                    align_bytes: theirs,
                },
            ) if align_bytes == theirs => {
                let mut part = |name: &str, ours: TypeIndex, theirs: TypeIndex, offset_bytes| {
                    let place = Place {
                        path: join(&place.path, name),
                        offset_bytes: Some(offset_bytes),
                        whole: (ours, theirs),
                    };
                    self.types(&place, ours, theirs, depth + 1)
                };
                let offset = left.type_at(here)?.size_bytes;
                part("header", *header, *their_header, 0)
                    .or_else(|| part("tail", *element, *their_element, offset))
            }
            (ours, theirs) if ours == theirs => None,
            _ => Some(self.unlike(place)),
        }
    }

    fn fields(
        &mut self,
        path: &str,
        ours: &[Field],
        theirs: &[Field],
        depth: usize,
    ) -> Option<Difference> {
        for field in ours {
            let path = join(path, &field.name);
            let Some(other) = theirs.iter().find(|other| other.name == field.name) else {
                return Some(Difference::Missing {
                    member: "field",
                    path,
                    side: "there",
                });
            };
            let place = Place {
                path,
                offset_bytes: Some(field.offset_bytes),
                whole: (field.layout, other.layout),
            };
            let found = self.types(&place, field.layout, other.layout, depth + 1);
            if found.is_some() {
                return found;
            }
            if field.offset_bytes != other.offset_bytes {
                let (here, there) = (field.offset_bytes, other.offset_bytes);
                return Some(Difference::Offset {
                    path: place.path,
                    here,
                    there,
                });
            }
        }
        let extra = theirs
            .iter()
            .find(|other| ours.iter().all(|field| field.name != other.name))?;
        Some(Difference::Missing {
            member: "field",
            path: join(path, &extra.name),
            side: "here",
        })
    }

    fn variants(
        &mut self,
        path: &str,
        ours: &[Variant],
        theirs: &[Variant],
        depth: usize,
    ) -> Option<Difference> {
        for variant in ours {
            let path = join(path, &variant.name);
            let Some(other) = theirs.iter().find(|other| other.name == variant.name) else {
                return Some(Difference::Missing {
                    member: "variant",
                    path,
                    side: "there",
                });
            };
            if variant.tag != other.tag {
                return Some(Difference::Tag {
                    path,
                    here: variant.tag,
                    there: other.tag,
                });
            }
            let found = self.fields(&path, &variant.fields, &other.fields, depth + 1);
            if found.is_some() {
                return found;
            }
        }
        let extra = theirs
            .iter()
            .find(|other| ours.iter().all(|variant| variant.name != other.name))?;
        Some(Difference::Missing {
            member: "variant",
            path: join(path, &extra.name),
            side: "here",
        })
    }

    fn unlike(&self, place: &Place) -> Difference {
        let (here, there) = place.whole;
        let (here, there) = (
            self.here.type_name(here).to_string(),
            self.there.type_name(there).to_string(),
        );
        match place.offset_bytes {
            Some(offset_bytes) => Difference::FieldType {
                path: place.path.clone(),
                offset_bytes,
                here,
                there,
            },
            None => Difference::Message { here, there },
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// How deep two layouts are compared; deeper ones are only told to differ. A peer's pointers can go round in circles of any length.
const MAX_DEPTH: usize = 256;
