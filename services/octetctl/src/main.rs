//! The program `octetctl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    octetctl::main()
}
