//! Arguments, a command, an exit code.

use std::process::ExitCode;

/// A sandbox is some forty small allocations that one thread makes and frees: what this allocator is best at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    lacewing::cli::main(std::env::args_os()).into()
}
