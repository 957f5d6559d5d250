//! Arguments, a command, an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    lacewing::cli::main(std::env::args_os()).into()
}
