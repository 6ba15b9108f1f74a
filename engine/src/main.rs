//! The `lanner` binary. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    engine::cli::main()
}
