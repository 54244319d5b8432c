//! The program of the unit `lan`.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_lan::main()
}
