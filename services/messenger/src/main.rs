//! messenger, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_messenger::main()
}
