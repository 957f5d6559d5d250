//! `#[lacewing_sdk::call]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ItemFn, PatType};

use crate::signature::{Expected, check_argument, check_result, checked, only};

const EXPECTED: Expected = Expected {
    attribute: "#[lacewing_sdk::call]",
    example: "fn add(input: Input) -> Result<Output>",
    may_be_async: false,
};

pub(crate) fn expand(arguments: TokenStream, item: &ItemFn) -> TokenStream {
    checked(item, EXPECTED.check(&arguments, item), |inputs| {
        let name = &item.sig.ident;
        let arguments = match inputs {
            [] => TokenStream::new(),
            [input] => check_argument(input, &quote!(input)),
            [context, input] => {
                let context = check_argument(context, &quote!(context));
                let input = check_argument(input, &quote!(input));
                quote!(#context #input)
            }
            [_, _, third, ..] => return Err(too_many(third)),
        };
        let result = check_result(item, inputs, &quote!(call_outcome));
        let only = only("CALL");
        Ok(quote! {
            #only
            const _: () = {
                #[allow(dead_code, clippy::all)]
                fn arguments() { #arguments }
                #result
            };
            #[cfg(target_family = "wasm")]
            ::lacewing_sdk::__export_call_handler!(#name);
        })
    })
}

fn too_many(place: &PatType) -> syn::Error {
    EXPECTED.error(place, "a call has one input, with a `Context` before it if you want one")
}
