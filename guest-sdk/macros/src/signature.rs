//! The signature that a handler must have, and the errors for any other.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, PatType, ReturnType, Safety, Type};

/// The form that an attribute expects, for its messages.
pub(crate) struct Expected {
    /// The attribute as it is written.
    pub(crate) attribute: &'static str,
    /// An example of a right signature.
    pub(crate) example: &'static str,
    /// Whether the function may be `async`.
    pub(crate) may_be_async: bool,
}

impl Expected {
    /// An error with the example.
    pub(crate) fn error(&self, place: impl Spanned, what: &str) -> Error {
        Error::new(
            place.span(),
            format!("{what}\n\n`{}` expects a function like `{}`", self.attribute, self.example),
        )
    }

    /// The handler's arguments, if nothing is wrong with its signature.
    pub(crate) fn check<'a>(
        &self,
        arguments: &TokenStream,
        item: &'a ItemFn,
    ) -> Result<Vec<&'a PatType>, Error> {
        if !arguments.is_empty() {
            return Err(self.error(
                arguments,
                "this attribute takes no arguments: routes stand in `lacewing.toml`",
            ));
        }
        let signature = &item.sig;
        if let Some(place) = &signature.asyncness
            && !self.may_be_async
        {
            return Err(self.error(place, "this handler cannot be `async`"));
        }
        if let Safety::Unsafe(place) = &signature.safety {
            return Err(self.error(place, "a handler cannot be `unsafe`: the host calls it"));
        }
        if let Some(place) = &signature.abi {
            return Err(self.error(place, "a handler is an ordinary Rust function, without an ABI"));
        }
        if !signature.generics.params.is_empty() {
            return Err(self.error(
                &signature.generics,
                "a handler cannot be generic: there would be nothing to choose its types",
            ));
        }
        let mut typed = Vec::new();
        for input in &signature.inputs {
            match input {
                FnArg::Receiver(place) => {
                    return Err(self.error(place, "a handler is a function, not a method"));
                }
                FnArg::Typed(argument) => typed.push(self.owned(argument)?),
            }
        }
        Ok(typed)
    }

    fn owned<'a>(&self, argument: &'a PatType) -> Result<&'a PatType, Error> {
        match &*argument.ty {
            Type::Reference(place) => {
                Err(self.error(place, "a handler owns its arguments: take the type without `&`"))
            }
            Type::ImplTrait(place) => {
                Err(self
                    .error(place, "a handler cannot be generic: name the type of this argument"))
            }
            _ => Ok(argument),
        }
    }
}

/// The item with what `rest` adds to it, or with the error.
pub(crate) fn checked(
    item: &ItemFn,
    inputs: Result<Vec<&PatType>, Error>,
    rest: impl FnOnce(&[&PatType]) -> Result<TokenStream, Error>,
) -> TokenStream {
    let rest = inputs.and_then(|inputs| rest(&inputs)).unwrap_or_else(Error::into_compile_error);
    quote!(#item #rest)
}

/// A name, and a symbol, that may be there only once. Where a second handler of a kind stands
/// beside the first, the name says what is wrong and where both are; elsewhere in the crate, the
/// symbol does, which sorts before those of the exports themselves. A handler that is `async` and
/// one that is not are two exports, of which a host would ask one.
///
/// Not on other targets: nothing is exported there, and tests have as many handlers as they like.
pub(crate) fn only(kind: &str) -> TokenStream {
    let name = format_ident!("A_COMPONENT_HAS_ONE_{kind}_HANDLER");
    let symbol = format!("a component has one {kind} handler");
    quote! {
        #[cfg(target_family = "wasm")]
        #[allow(dead_code)]
        const #name: () = ();
        #[cfg(target_family = "wasm")]
        ::lacewing_sdk::__only!(#symbol);
    }
}

/// Code that does nothing, and compiles only if the argument's type passes a check of `export`.
///
/// Errors are where the type stands.
pub(crate) fn check_argument(input: &PatType, check: &TokenStream) -> TokenStream {
    let ty = &input.ty;
    quote_spanned!(ty.span()=> ::lacewing_sdk::export::#check::<#ty>();)
}

/// The same for the result.
pub(crate) fn check_result(item: &ItemFn, inputs: &[&PatType], check: &TokenStream) -> TokenStream {
    let name = &item.sig.ident;
    let asyncness = &item.sig.asyncness;
    let wait = asyncness.as_ref().map(|_| quote!(.await));
    let types: Vec<_> = inputs.iter().map(|input| &input.ty).collect();
    let names: Vec<_> = (0..types.len()).map(|index| format_ident!("a{index}")).collect();
    let place = match &item.sig.output {
        ReturnType::Default => item.sig.ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let check = quote_spanned!(place=> ::lacewing_sdk::export::#check(result););
    quote! {
        #[allow(dead_code, clippy::all)]
        #asyncness fn result(#(#names: #types),*) {
            #[allow(clippy::let_unit_value)]
            let result = #name(#(#names),*)#wait;
            #check
        }
    }
}
