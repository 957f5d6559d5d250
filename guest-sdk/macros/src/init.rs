//! `#[lacewing_sdk::init]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ItemFn;

use crate::signature::{Expected, check_result, checked, only};

const EXPECTED: Expected = Expected {
    attribute: "#[lacewing_sdk::init]",
    example: "fn prepare() -> Result<()>",
    may_be_async: false,
};

pub(crate) fn expand(arguments: TokenStream, item: &ItemFn) -> TokenStream {
    checked(item, EXPECTED.check(&arguments, item), |inputs| {
        if let [input, ..] = inputs {
            return Err(EXPECTED.error(input, "there is nothing yet that an init could be given"));
        }
        let name = &item.sig.ident;
        let result = check_result(item, inputs, &quote!(init_outcome));
        let only = only("INIT");
        Ok(quote! {
            #only
            const _: () = { #result };
            #[cfg(target_family = "wasm")]
            ::lacewing_sdk::__export_init!(#name);
        })
    })
}
