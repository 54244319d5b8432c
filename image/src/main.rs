//! The builder's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    octet_image::exit_code(octet_image::main)
}
