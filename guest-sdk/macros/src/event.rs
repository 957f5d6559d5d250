//! `#[lacewing_sdk::event]` and `#[lacewing_sdk::events]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ItemFn;

use crate::signature::{Expected, check_argument, check_result, checked, only};

/// The differences between one event and a batch.
pub(crate) struct Kind {
    expected: Expected,
    what: &'static str,
    /// The check of the argument, in `export`.
    argument: &'static str,
    /// The check of the result, in `export`.
    outcome: &'static str,
}

pub(crate) const ONE: Kind = Kind {
    expected: Expected {
        attribute: "#[lacewing_sdk::event]",
        example: "fn on_order(event: Event<Order>) -> Result<()>",
        may_be_async: false,
    },
    what: "the handler takes one event, with a `Context` before it if you want one",
    argument: "event",
    outcome: "event_outcome",
};

pub(crate) const BATCH: Kind = Kind {
    expected: Expected {
        attribute: "#[lacewing_sdk::events]",
        example: "fn on_orders(batch: Vec<Event<Order>>) -> Vec<Result<()>>",
        may_be_async: false,
    },
    what: "the handler takes a batch, with a `Context` before it if you want one",
    argument: "batch",
    outcome: "batch_outcome",
};

pub(crate) fn expand(kind: &Kind, arguments: TokenStream, item: &ItemFn) -> TokenStream {
    checked(item, kind.expected.check(&arguments, item), |inputs| {
        let name = &item.sig.ident;
        let argument = format_ident!("{}", kind.argument);
        let outcome = format_ident!("{}", kind.outcome);
        let arguments = match inputs {
            [] => return Err(kind.expected.error(&item.sig.ident, kind.what)),
            [event] => check_argument(event, &quote!(#argument)),
            [context, event] => {
                let context = check_argument(context, &quote!(context));
                let event = check_argument(event, &quote!(#argument));
                quote!(#context #event)
            }
            [_, _, third, ..] => return Err(kind.expected.error(third, kind.what)),
        };
        let result = check_result(item, inputs, &quote!(#outcome));
        let only = only("EVENT");
        Ok(quote! {
            #only
            const _: () = {
                #[allow(dead_code, clippy::all)]
                fn arguments() { #arguments }
                #result
            };
            #[cfg(target_family = "wasm")]
            ::lacewing_sdk::__export_event_handler!(#name);
        })
    })
}
