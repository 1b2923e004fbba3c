//! Writes the implementation of `Describe`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Data, DataEnum, DeriveInput, Error, Field, Fields, Result};

/// `Describe` for a struct or enum.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if !input.generics.params.is_empty() {
        let text = "a message type cannot be generic, since its layout would depend on who uses it: write a type without parameters";
        return Err(Error::new_spanned(&input.generics, text));
    }
    for option in ["as", "remote"] {
        refuse_option(&input.attrs, option)?;
    }
    let mut any_bits = quote! { false };
    let kind = match &input.data {
        Data::Struct(data) => {
            // Who checks bytes in a way of their own has said that not all of them will do.
            if ["bytecheck", "attr"]
                .iter()
                .all(|option| refuse_option(&input.attrs, option).is_ok())
            {
                any_bits = all_any_bits(&data.fields);
            }
            struct_kind(&data.fields)?
        }
        Data::Enum(data) => enum_kind(data)?,
        Data::Union(data) => {
            let text = "a union cannot be a message, since its bytes do not say which field they are: write an enum";
            return Err(Error::new_spanned(data.union_token, text));
        }
    };
    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::ringmain::message::Describe for #ident {
            // SAFETY: a struct whose fields can have any bits, and that is checked in no way but by its fields, can have any itself.
            const ANY_BITS: ::ringmain::message::AnyBits<Self> = unsafe {
                ::ringmain::message::AnyBits::claim(#any_bits)
            };

            fn kind(types: &mut ::ringmain::message::LayoutBuilder) -> ::ringmain::message::Kind {
                #kind
            }
        }
    })
}

fn struct_kind(fields: &Fields) -> Result<TokenStream> {
    refuse_with(fields)?;
    let described = fields.iter().zip(fields.members()).enumerate().map(|(position, (field, member))| {
        let (name, ty) = (name_of(field, position), &field.ty);
        quote! {
            types.field::<#ty>(#name, ::core::mem::offset_of!(<Self as ::ringmain::rkyv::Archive>::Archived, #member))
        }
    });
    Ok(quote! { ::ringmain::message::Kind::Struct(::std::vec![#(#described),*]) })
}

fn enum_kind(data: &DataEnum) -> Result<TokenStream> {
    let mut tags = TokenStream::new();
    let mut variants = Vec::new();
    let mut next = quote! { 0 };
    for (position, variant) in data.variants.iter().enumerate() {
        refuse_with(&variant.fields)?;
        let tag = format_ident!("TAG_{position}");
        let value = variant
            .discriminant
            .as_ref()
            .map_or(next, |(_, value)| quote! { #value });
        tags.extend(quote! { const #tag: u8 = #value; });
        next = quote! { #tag + 1 };
        let name = variant.ident.unraw().to_string();
        let fields = variant.fields.iter().enumerate().map(|(position, field)| {
            let (name, ty) = (name_of(field, position), &field.ty);
            quote! { .field::<#ty>(#name) }
        });
        variants.push(quote! { types.variant(#name, #tag)#(#fields)*.finish() });
    }
    Ok(quote! {
        #tags
        ::ringmain::message::Kind::Enum(::std::vec![#(#variants),*])
    })
}

fn all_any_bits(fields: &Fields) -> TokenStream {
    let types = fields.iter().map(|field| &field.ty);
    quote! { true #(&& <#types as ::ringmain::message::Describe>::ANY_BITS.holds())* }
}

fn name_of(field: &Field, position: usize) -> String {
    field
        .ident
        .as_ref()
        .map_or_else(|| position.to_string(), |ident| ident.unraw().to_string())
}

fn refuse_with(fields: &Fields) -> Result<()> {
    fields
        .iter()
        .try_for_each(|field| refuse_option(&field.attrs, "with"))
}

/// Options of rkyv that give an archived form which `Describe` does not know.
fn refuse_option(attributes: &[Attribute], option: &str) -> Result<()> {
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("rkyv"))
    {
        let tokens = attribute.meta.require_list()?.tokens.clone();
        if tokens.into_iter().any(|token| token.to_string() == option) {
            let text = format!(
                "a message cannot use rkyv's `{option}`, which changes the layout: use a type of its own for it"
            );
            return Err(Error::new_spanned(attribute, text));
        }
    }
    Ok(())
}
