//! The program `octet-msg`.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_msg::main()
}
