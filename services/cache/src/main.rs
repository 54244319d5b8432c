use std::process::ExitCode;

fn main() -> ExitCode {
    octet_cache::main()
}
