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

#[cfg(test)]
mod tests {
    use quote::{format_ident, quote};
    use syn::parse_quote;

    use crate::{call, event, http};

    #[test]
    fn a_kinds_second_handler_has_a_name_that_is_taken() {
        let marks = |expanded: proc_macro2::TokenStream| {
            let text = expanded.to_string();
            let kinds = ["HTTP", "CALL", "EVENT"];
            let mark = |kind| format_ident!("A_COMPONENT_HAS_ONE_{kind}_HANDLER").to_string();
            kinds.into_iter().filter(|kind| text.contains(&mark(*kind))).collect::<Vec<_>>()
        };
        let item = parse_quote!(
            fn handler() {}
        );
        let handles = parse_quote!(
            fn handler(event: Event<()>) {}
        );
        assert_eq!(marks(http::expand(quote!(), &item)), ["HTTP"]);
        assert_eq!(marks(call::expand(quote!(), &item)), ["CALL"]);
        // Both are the same export.
        assert_eq!(marks(event::expand(&event::ONE, quote!(), &handles)), ["EVENT"]);
        assert_eq!(marks(event::expand(&event::BATCH, quote!(), &handles)), ["EVENT"]);
    }
}
