//! The program of the unit `logd`.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_logd::main()
}
