//! Calls a handler with what its arguments ask for.
//!
//! The traits here are implemented for functions. They are not for users: an attribute checks a
//! handler's signature argument by argument, which gives better messages than a bound on the whole
//! function does.

use std::future::Future;
use std::marker::PhantomData;

use crate::extract::{BodyUse, FromRequest, Incoming};
use crate::respond::{IntoResponse, Reply};

/// A function that answers HTTP requests.
#[diagnostic::on_unimplemented(
    message = "this is not an HTTP handler",
    note = "a handler takes up to eight arguments that implement `FromRequest` and returns a type that implements `IntoResponse`"
)]
pub trait HttpHandler<Args> {
    /// Answers one request.
    fn reply(&self, request: Incoming) -> Reply;
}

/// An `async` function that answers HTTP requests.
#[diagnostic::on_unimplemented(
    message = "this is not an `async` HTTP handler",
    note = "a handler takes up to eight arguments that implement `FromRequest` and returns a type that implements `IntoResponse`"
)]
pub trait AsyncHttpHandler<Args> {
    /// Answers one request.
    fn reply(&self, request: Incoming) -> impl Future<Output = Reply>;
}

/// A function that answers HTTP requests, `async` or not. `How` tells the two apart.
#[diagnostic::on_unimplemented(
    message = "this is not an HTTP handler",
    note = "a handler takes up to eight arguments that implement `FromRequest` and returns a type that implements `IntoResponse`"
)]
pub trait AnyHttpHandler<How> {
    /// Answers one request.
    fn reply(&self, request: Incoming) -> impl Future<Output = Reply>;
}

/// Marks a handler that answers at once, and its arguments.
#[derive(Debug)]
pub struct AtOnce<Args>(PhantomData<Args>);

/// Marks a handler that is `async`, and its arguments.
#[derive(Debug)]
pub struct InTime<Args>(PhantomData<Args>);

impl<Args, F: HttpHandler<Args>> AnyHttpHandler<AtOnce<Args>> for F {
    async fn reply(&self, mut request: Incoming) -> Reply {
        // It cannot wait for its body, whatever it does with it.
        match request.buffer().await {
            Ok(()) => HttpHandler::reply(self, request),
            Err(error) => error.into_reply(),
        }
    }
}

impl<Args, F: AsyncHttpHandler<Args>> AnyHttpHandler<InTime<Args>> for F {
    async fn reply(&self, request: Incoming) -> Reply {
        AsyncHttpHandler::reply(self, request).await
    }
}

macro_rules! handlers {
    ($($argument:ident)*) => {
        impl<F, R, $($argument,)*> HttpHandler<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R,
            R: IntoResponse,
            $($argument: FromRequest,)*
        {
            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn reply(&self, mut request: Incoming) -> Reply {
                $(let $argument = match $argument::from_request(&mut request) {
                    Ok(argument) => argument,
                    Err(error) => return error.into_reply(),
                };)*
                self($($argument),*).into_reply()
            }
        }

        impl<F, T, R, $($argument,)*> AsyncHttpHandler<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> T,
            T: Future<Output = R>,
            R: IntoResponse,
            $($argument: FromRequest,)*
        {
            #[allow(non_snake_case, unused_mut, unused_variables)]
            async fn reply(&self, mut request: Incoming) -> Reply {
                let uses: &[BodyUse] = &[$($argument::BODY),*];
                if uses.contains(&BodyUse::Whole) && let Err(error) = request.buffer().await {
                    return error.into_reply();
                }
                $(let $argument = match $argument::from_request(&mut request) {
                    Ok(argument) => argument,
                    Err(error) => return error.into_reply(),
                };)*
                self($($argument),*).await.into_reply()
            }
        }
    };
}

handlers! {}
handlers! { A }
handlers! { A B }
handlers! { A B C }
handlers! { A B C D }
handlers! { A B C D E }
handlers! { A B C D E G }
handlers! { A B C D E G H }
handlers! { A B C D E G H I }
