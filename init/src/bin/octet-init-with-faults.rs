//! PID 1 with faults on demand, configured on the kernel's command line, for tests. It has a name
//! of its own, so that it cannot be put into an image by mistake.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_init::main()
}
