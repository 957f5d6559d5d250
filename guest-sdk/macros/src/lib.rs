//! The attributes of `lacewing-sdk`, which documents them.

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

mod call;
mod event;
mod http;
mod init;
mod signature;

#[allow(missing_docs)] // The documentation stands where they are re-exported.
#[proc_macro_attribute]
pub fn http(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    http::expand(arguments.into(), &item).into()
}

#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn call(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    call::expand(arguments.into(), &item).into()
}

#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn event(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    event::expand(&event::ONE, arguments.into(), &item).into()
}

#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn events(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    event::expand(&event::BATCH, arguments.into(), &item).into()
}

#[allow(missing_docs)]
#[proc_macro_attribute]
pub fn init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    init::expand(arguments.into(), &item).into()
}
