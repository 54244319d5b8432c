//! The person's command, as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_msg::main()
}
