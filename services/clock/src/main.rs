//! The program of the service `clock`.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_clock::main()
}
