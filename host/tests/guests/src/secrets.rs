//! A handler of the SDK's that reads secrets, and ends in each way with one in its hand.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Path, Result, Routes, secret};

#[lacewing_sdk::http]
fn secrets(routes: Routes) -> Routes {
    routes
        .get("/read/{name}", read)
        .get("/twice/{name}", twice)
        .get("/print/{name}", print)
        .get("/panic/{name}", panics)
        .get("/trap/{name}", trap)
        .get("/spin/{name}", spin)
        .get("/exit/{name}", exit)
        .get("/hammer/{name}", hammer)
        .get("/environment", environment)
}

fn read(Path(name): Path<String>) -> Result<String> {
    Ok(secret(&name)?.expose().to_owned())
}

/// Whether all reads of one invocation give the same.
fn twice(Path(name): Path<String>) -> Result<String> {
    let first = secret(&name)?;
    for _ in 0..100 {
        if secret(&name)? != first {
            return Ok("different".to_owned());
        }
    }
    Ok("same".to_owned())
}

/// Its own output is the function's own.
fn print(Path(name): Path<String>) -> Result<()> {
    let value = secret(&name)?;
    println!("{value:?} is {}", value.expose());
    Ok(())
}

fn panics(Path(name): Path<String>) -> Result<()> {
    panic!("the value is {}", secret(&name)?.expose());
}

fn trap(Path(name): Path<String>) -> Result<()> {
    let value = secret(&name)?;
    std::hint::black_box(value.expose());
    core::arch::wasm32::unreachable()
}

fn spin(Path(name): Path<String>) -> Result<()> {
    let value = secret(&name)?;
    loop {
        std::hint::black_box(value.expose());
    }
}

fn exit(Path(name): Path<String>) -> Result<()> {
    let value = secret(&name)?;
    std::hint::black_box(value.expose());
    std::process::exit(3)
}

/// Asks without end, whatever the answer is.
fn hammer(Path(name): Path<String>) {
    loop {
        let _ = std::hint::black_box(secret(&name));
    }
}

/// All that the environment has.
fn environment() -> String {
    std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect()
}
