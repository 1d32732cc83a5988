//! The `#[task]` attribute of Punctual. It is documented, and to be used, as `punctual::task`.

mod attribute;
mod code;
mod expand;
mod near;
mod parameter;
mod run;
mod schedule;
mod signature;

use proc_macro::TokenStream;

/// Makes a function a task; see `punctual::task`.
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(attribute.into(), item.into()).into()
}
