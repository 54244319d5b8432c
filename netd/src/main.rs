//! netd as a stand-alone program.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_netd::main()
}
