//! The one table that stands for all tables of the same meaning.

use std::collections::HashMap;

use super::{Field, Kind, Layout, TypeIndex, TypeLayout};

/// The smallest table of the same meaning, in the order in which a walk from the root meets its types.
///
/// Two Rust types of equal layout become one entry, since what they are called in one program is nothing that a peer
/// depends on. Starts from "all are alike" and splits until nothing changes, so types that contain themselves are fine.
///
/// The indices must be in range.
pub(super) fn canonical(layout: &Layout) -> Layout {
    let class = classes(&layout.types);
    let mut number = HashMap::new();
    let mut order = Vec::new();
    let mut waiting = vec![0];
    while let Some(index) = waiting.pop() {
        if number.contains_key(&class[index]) {
            continue;
        }
        number.insert(class[index], TypeIndex(order.len() as u32));
        order.push(index);
        waiting.extend(
            layout.types[index]
                .kind
                .references()
                .iter()
                .rev()
                .map(|reference| reference.0 as usize),
        );
    }
    let renumber = |reference: TypeIndex| number[&class[reference.0 as usize]];
    let types = order
        .iter()
        .map(|&index| layout.types[index].renumbered(renumber))
        .collect();
    Layout { types }
}

/// The bytes of a layout, as [`MessageType::computed_fingerprint`](super::MessageType::computed_fingerprint) lists them.
pub(super) fn write_layout(out: &mut Vec<u8>, layout: &Layout) {
    write_number(out, layout.types.len() as u32);
    for entry in &layout.types {
        write_number(out, entry.size_bytes);
        write_number(out, entry.align_bytes);
        write_kind(out, &entry.kind);
    }
}

/// A string with its length before it, see [`write_layout`].
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_number(out, text.len() as u32);
    out.extend_from_slice(text.as_bytes());
}

/// A number, see [`write_layout`].
pub(super) fn write_number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

impl TypeLayout {
    fn renumbered(&self, number: impl Fn(TypeIndex) -> TypeIndex) -> Self {
        Self {
            kind: self.kind.renumbered(number),
            ..*self
        }
    }
}

fn classes(types: &[TypeLayout]) -> Vec<u32> {
    let mut class = vec![0; types.len()];
    let mut count = 1;
    loop {
        let mut seen = HashMap::new();
        let next = types
            .iter()
            .map(|entry| {
                let fresh = seen.len() as u32;
                *seen
                    .entry(entry.renumbered(|reference| TypeIndex(class[reference.0 as usize])))
                    .or_insert(fresh)
            })
            .collect();
        class = next;
        if seen.len() == count {
            return class;
        }
        count = seen.len();
    }
}

fn write_kind(out: &mut Vec<u8>, kind: &Kind) {
    match kind {
        Kind::Unit => out.push(0),
        Kind::Bool => out.push(1),
        Kind::Unsigned { bits } => out.extend([2, *bits]),
        Kind::Signed { bits } => out.extend([3, *bits]),
        Kind::Float { bits } => out.extend([4, *bits]),
        Kind::Char => out.push(5),
        Kind::String => out.push(6),
        Kind::Struct(fields) => {
            out.push(7);
            write_fields(out, fields);
        }
        Kind::Enum(variants) => {
            out.push(8);
            write_number(out, variants.len() as u32);
            for variant in variants {
                write_text(out, &variant.name);
                out.push(variant.tag);
                write_fields(out, &variant.fields);
            }
        }
        Kind::List(element) => write_reference(out, 9, *element),
        Kind::Array { element, len } => {
            write_reference(out, 10, *element);
            write_number(out, *len);
        }
        Kind::Option(value) => write_reference(out, 11, *value),
        Kind::Boxed(value) => write_reference(out, 12, *value),
        Kind::Raw => out.push(13),
        Kind::Tail {
            header,
            element,
            align_bytes,
        } => {
            write_reference(out, 14, *header);
            write_number(out, element.0);
            write_number(out, *align_bytes);
        }
    }
}

fn write_reference(out: &mut Vec<u8>, kind: u8, index: TypeIndex) {
    out.push(kind);
    write_number(out, index.0);
}

fn write_fields(out: &mut Vec<u8>, fields: &[Field]) {
    write_number(out, fields.len() as u32);
    for field in fields {
        write_text(out, &field.name);
        write_number(out, field.offset_bytes);
        write_number(out, field.layout.0);
    }
}
