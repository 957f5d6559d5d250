//! Runs a program of this package on demand: `{"program": "hash", "rounds": 10}`.

#![cfg(target_os = "wasi")]

use lacewing_bench_guests::Program;
use lacewing_sdk::{Error, Result};

#[lacewing_sdk::call]
fn compute(input: serde_json::Value) -> Result<u64> {
    let program = input["program"].as_str().and_then(Program::named);
    let program = program.ok_or_else(|| Error::named("NoProgram", "there is no such program"))?;
    let rounds = input["rounds"].as_u64().and_then(|rounds| rounds.try_into().ok()).unwrap_or(1);
    Ok(program.run(rounds))
}
