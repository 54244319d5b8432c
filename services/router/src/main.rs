use std::process::ExitCode;

fn main() -> ExitCode {
    octet_router_unit::main()
}
