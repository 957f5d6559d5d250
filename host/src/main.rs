//! Arguments, a command, an exit code.

use std::process::ExitCode;

use lacewing::heap::ChargingAllocator;
use mimalloc::MiMalloc;

/// A sandbox is some forty small allocations that one thread makes and frees: mimalloc is best at
/// that.
#[global_allocator]
static ALLOCATOR: ChargingAllocator<MiMalloc> = ChargingAllocator(MiMalloc);

fn main() -> ExitCode {
    lacewing::cli::main(std::env::args_os()).into()
}
