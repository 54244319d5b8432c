//! `octetctl [UNIT] VERB …`: asks a unit of this appliance. Which verbs there are is the unit's to
//! say; this program knows none.

use std::path::Path;
use std::process::ExitCode;

use octet_control::cli::{self, CliError};
use octet_control::{Client, INIT, SOCKETS};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(CliError::Usage(usage)) => {
            let _ = usage.print();
            ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1))
        }
        Err(error) => {
            eprintln!("octetctl: {error}");
            if let Some(help) = error.help() {
                eprintln!("  help: {help}");
            }
            ExitCode::FAILURE
        }
    }
}

/// A first word that is the name of a unit's socket names that unit; PID 1 is asked otherwise.
fn run(args: &[String]) -> Result<(), CliError> {
    let socket = |unit: &str| Path::new(SOCKETS).join(format!("{unit}.sock"));
    let unit = args.first().filter(|unit| !unit.contains('/') && socket(unit).exists());
    let (unit, args, program) = match unit {
        Some(unit) => (unit.as_str(), &args[1..], format!("octetctl {unit}")),
        None => (INIT, args, "octetctl".to_owned()),
    };
    cli::run(&mut Client::connect(&socket(unit))?, args, &program)
}
