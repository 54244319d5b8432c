//! PID 1 of an Octet appliance.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_init::main()
}
