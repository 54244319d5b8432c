//! The operator's command, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    octetctl::main()
}
