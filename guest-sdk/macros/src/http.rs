//! `#[lacewing_sdk::http]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ItemFn;
use syn::spanned::Spanned;

use crate::signature::{Expected, check_argument, check_result, checked, only};

const EXPECTED: Expected = Expected {
    attribute: "#[lacewing_sdk::http]",
    example: "fn user(Path(id): Path<u32>, Json(change): Json<Change>) -> Result<Json<User>>",
    may_be_async: true,
};

/// As many as `handler.rs` has implementations for.
const MOST_ARGUMENTS: usize = 8;

pub(crate) fn expand(arguments: TokenStream, item: &ItemFn) -> TokenStream {
    checked(item, EXPECTED.check(&arguments, item), |inputs| {
        if let Some(place) = inputs.get(MOST_ARGUMENTS) {
            return Err(EXPECTED.error(place, "a handler takes eight arguments at most"));
        }
        let name = &item.sig.ident;
        let types = inputs.iter().map(|input| check_argument(input, &quote!(argument)));
        let bodies = inputs.iter().rev().skip(1).rev().map(|input| {
            let ty = &input.ty;
            quote_spanned!(ty.span()=> const _: () = ::lacewing_sdk::export::leaves_body::<#ty>();)
        });
        let result = check_result(item, inputs, &quote!(response));
        let export = if item.sig.asyncness.is_some() {
            quote!(::lacewing_sdk::__export_async_http_handler!(#name);)
        } else {
            quote!(::lacewing_sdk::__export_http_handler!(#name);)
        };
        let only = only("HTTP");
        Ok(quote! {
            #only
            const _: () = {
                #[allow(dead_code, clippy::all)]
                fn arguments() { #(#types)* }
                #(#bodies)*
                #result
            };
            #[cfg(target_family = "wasm")]
            #export
        })
    })
}
