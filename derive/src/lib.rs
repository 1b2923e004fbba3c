//! Derive macros of `ringmain`: `Message` with its part `Describe`.
//!
//! Use them through the `ringmain` crate, which re-exports them; the code that they write says `::ringmain::...`.

mod describe;
mod message;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `ringmain::message::Message` for a type that also derives `rkyv::Archive` and `rkyv::Serialize`, with
/// `ringmain::message::Describe`.
///
/// `#[message(name = "md.quote", version = 2)]` gives the type its identity. The name, 1 to 255 bytes, has to be given; the
/// version is 1 if it is not. Types that the message contains derive `Describe` only.
///
/// ```
/// use ringmain::rkyv;
///
/// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Describe)]
/// #[rkyv(crate = ringmain::rkyv)]
/// enum Side {
///     Buy,
///     Sell { short: bool },
/// }
///
/// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
/// #[rkyv(crate = ringmain::rkyv)]
/// #[message(name = "md.order")]
/// struct Order {
///     side: Side,
///     price: f64,
/// }
/// ```
///
/// # What does not compile
/// A message without a name:
/// ```compile_fail
/// # use ringmain::rkyv;
/// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
/// #[rkyv(crate = ringmain::rkyv)]
/// struct Tick {
///     price: f64,
/// }
/// ```
/// A type with parameters, whose layout would depend on who uses it:
/// ```compile_fail
/// # use ringmain::rkyv;
/// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
/// #[rkyv(crate = ringmain::rkyv)]
/// #[message(name = "md.tick")]
/// struct Tick<T> {
///     price: T,
/// }
/// ```
/// A `usize`, whose width depends on the process (and rkyv's other forms of a field, by `with`):
/// ```compile_fail
/// # use ringmain::rkyv;
/// #[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
/// #[rkyv(crate = ringmain::rkyv)]
/// #[message(name = "md.tick")]
/// struct Tick {
///     price: usize,
/// }
/// ```
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    message::expand(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

/// Implements `ringmain::message::Describe`, so that messages can contain the type. It also has to derive `rkyv::Archive` and
/// `rkyv::Serialize`.
#[proc_macro_derive(Describe)]
pub fn derive_describe(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    describe::expand(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
