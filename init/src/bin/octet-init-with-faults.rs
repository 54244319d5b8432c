//! PID 1 that fails where the kernel's command line says, for tests. It has a name of its own, so that no image is ever
//! given it by mistake.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_init::main()
}
