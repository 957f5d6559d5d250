//! The host's side of the contract, generated from `guest-sdk/wit`.

#![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]

pub(super) mod http {
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit",
        world: "http-function",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(super) mod events {
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit",
        world: "events-function",
        exports: { default: async },
        additional_derives: [PartialEq],
    });
}

pub(super) mod call {
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit",
        world: "call-function",
        exports: { default: async },
        additional_derives: [PartialEq],
    });
}

pub(super) mod init {
    wasmtime::component::bindgen!({
        path: "../../../guest-sdk/wit",
        world: "init-function",
        exports: { default: async },
    });
}

pub use call::exports::lacewing::function::call::Error as CallError;
pub use events::exports::lacewing::function::events::{
    Event, Extension, Failure as EventFailure, Retry,
};
