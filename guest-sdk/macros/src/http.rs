//! `#[lacewing_sdk::http]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, PatType};

use crate::signature::{Expected, output_span};

const EXPECTED: Expected = Expected {
    attribute: "#[lacewing_sdk::http]",
    example: "fn user(Path(id): Path<u32>, Json(change): Json<Change>) -> Result<Json<User>>",
    may_be_async: true,
};

/// As many as `handler.rs` has implementations for.
const MOST_ARGUMENTS: usize = 8;

pub(crate) fn expand(arguments: TokenStream, item: &ItemFn) -> TokenStream {
    match check(&arguments, item) {
        Ok(inputs) => {
            let checks = checks(item, &inputs);
            let export = export(item);
            quote!(#item #checks #export)
        }
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#item #error)
        }
    }
}

fn check<'a>(arguments: &TokenStream, item: &'a ItemFn) -> Result<Vec<&'a PatType>, Error> {
    let inputs = EXPECTED.check(arguments, item)?;
    match inputs.get(MOST_ARGUMENTS) {
        Some(place) => Err(EXPECTED.error(place, "a handler takes eight arguments at most")),
        None => Ok(inputs),
    }
}

/// Code that does nothing, and compiles only if each type is right; its errors are where the types stand.
fn checks(item: &ItemFn, inputs: &[&PatType]) -> TokenStream {
    let name = &item.sig.ident;
    let types: Vec<_> = inputs.iter().map(|input| &input.ty).collect();
    let names: Vec<_> = (0..types.len()).map(|index| format_ident!("a{index}")).collect();
    let arguments = types
        .iter()
        .map(|ty| quote_spanned!(ty.span()=> ::lacewing_sdk::export::argument::<#ty>();));
    let bodies = types.iter().take(types.len().saturating_sub(1)).map(|ty| {
        quote_spanned!(ty.span()=> const _: () = ::lacewing_sdk::export::leaves_body::<#ty>();)
    });
    let wait = item.sig.asyncness.as_ref().map(|_| quote!(.await));
    let asyncness = &item.sig.asyncness;
    let response = quote_spanned! {output_span(item)=>
        ::lacewing_sdk::export::response(result);
    };
    quote! {
        const _: () = {
            #[allow(dead_code, clippy::all)]
            fn arguments() { #(#arguments)* #(#bodies)* }
            #[allow(dead_code, clippy::all, clippy::pedantic)]
            #asyncness fn response(#(#names: #types),*) {
                let result = #name(#(#names),*)#wait;
                #response
            }
        };
    }
}

/// The component's export, where there is a component.
fn export(item: &ItemFn) -> TokenStream {
    let name = &item.sig.ident;
    if item.sig.asyncness.is_some() {
        quote! {
            #[cfg(target_family = "wasm")]
            ::lacewing_sdk::__export_stream!(#name);
        }
    } else {
        quote! {
            #[cfg(target_family = "wasm")]
            ::lacewing_sdk::__export_lean!(#name);
        }
    }
}
