//! Writes the implementation of `Message`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, DeriveInput, Error, LitBool, LitInt, LitStr, Result};

use crate::describe;

/// `Message` for a type, with its `Describe`.
pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let describe = describe::expand(input)?;
    let Identity {
        name,
        version,
        conflates,
    } = Identity::parse(input)?;
    let ident = &input.ident;
    Ok(quote! {
        #describe

        #[automatically_derived]
        impl ::ringmain::message::Message for #ident {
            type View = <Self as ::ringmain::rkyv::Archive>::Archived;

            const ENCODED_LEN: ::core::option::Option<usize> =
                ::ringmain::message::rkyv_codec::constant_len::<Self>();

            const CONFLATES: bool = #conflates;

            fn message_type() -> &'static ::ringmain::message::MessageType {
                static TYPE: ::std::sync::OnceLock<::ringmain::message::MessageType> = ::std::sync::OnceLock::new();
                TYPE.get_or_init(|| ::ringmain::message::MessageType::of::<Self>(#name, #version))
            }

            #[inline]
            fn encode(
                &self,
                out: &mut [u8],
                scratch: &mut ::ringmain::message::Scratch,
            ) -> ::core::result::Result<usize, ::ringmain::message::EncodeError> {
                ::ringmain::message::rkyv_codec::encode(self, out, scratch)
            }

            fn encoded_len(
                &self,
                scratch: &mut ::ringmain::message::Scratch,
            ) -> ::core::result::Result<usize, ::ringmain::message::EncodeError> {
                ::ringmain::message::rkyv_codec::encoded_len(self, scratch)
            }

            #[inline]
            fn view(bytes: &[u8]) -> ::core::result::Result<&Self::View, ::ringmain::message::ViewError> {
                ::ringmain::message::rkyv_codec::view::<Self>(bytes)
            }
        }
    })
}

struct Identity {
    name: LitStr,
    version: u32,
    conflates: bool,
}

impl Identity {
    fn parse(input: &DeriveInput) -> Result<Self> {
        let mut written = Written::default();
        for attribute in input
            .attrs
            .iter()
            .filter(|attribute| attribute.path().is_ident("message"))
        {
            written.parse(attribute)?;
        }
        let Written {
            name,
            version,
            conflates,
        } = written;
        let name = name.ok_or_else(|| Error::new_spanned(&input.ident, missing_name(input)))?;
        match name.value().len() {
            1..=MAX_NAME_BYTES => Ok(Self {
                name,
                version: version.unwrap_or(1),
                conflates: conflates.unwrap_or(true),
            }),
            len => Err(Error::new_spanned(
                name,
                format!("a message name has 1 to {MAX_NAME_BYTES} bytes, this one has {len}"),
            )),
        }
    }
}

/// What stands in the attributes.
#[derive(Default)]
struct Written {
    name: Option<LitStr>,
    version: Option<u32>,
    conflates: Option<bool>,
}

impl Written {
    fn parse(&mut self, attribute: &Attribute) -> Result<()> {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                self.name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("version") {
                self.version = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
            } else if meta.path.is_ident("conflate") {
                self.conflates = Some(meta.value()?.parse::<LitBool>()?.value);
            } else {
                return Err(
                    meta.error("expected `name = \"...\"`, `version = ...` or `conflate = false`")
                );
            }
            Ok(())
        })
    }
}

fn missing_name(input: &DeriveInput) -> String {
    let example = input.ident.to_string().to_lowercase();
    format!(
        "a message needs a name that stays when the type is renamed: write `#[message(name = \"{example}\")]`"
    )
}

const MAX_NAME_BYTES: usize = 255;
