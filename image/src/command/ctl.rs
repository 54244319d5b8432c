//! `cargo image ctl`

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use miette::{Diagnostic, IntoDiagnostic};
use octet_control::CallError;
use octet_control::cli::{self, CliError};
use octet_control::lines;
use octet_machine::connect;

use crate::running;
use crate::target::Target;
use crate::workspace::Workspace;

/// How long the first answer may take: someone else may have the port, or the kernel still boots.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Sends a verb to the appliance that `cargo image run` has booted
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// The board of `cargo image run --cluster N` that is asked; without it the router is
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    board: Option<u8>,
    /// The verb and its arguments, after the name of the unit if it is not PID 1; none lists what there is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "VERB")]
    words: Vec<String>,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
enum CtlError {
    #[error("the machine does not answer on its control port ({0})")]
    #[diagnostic(help(
        "the port serves one client at a time: end the other `cargo image ctl`, or wait until the machine has booted"
    ))]
    Silent(CallError),
    #[error("{message}")]
    Refused {
        message: String,
        #[help]
        help: String,
    },
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let port = running_port(args.board)?;
    // After the first answer a verb may take its time.
    let mut client = connect(&port, Instant::now() + FIRST_ANSWER).map_err(CtlError::Silent)?;
    match cli::run_on_box(&mut client, &args.words, "cargo image ctl", None) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(CliError::Usage(usage)) => {
            usage.print().into_diagnostic()?;
            Ok(ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1)))
        }
        // `| head` is no failure.
        Err(CliError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => match error.help() {
            Some(help) => {
                let help = lines(help);
                Err(CtlError::Refused { message: lines(&error.to_string()), help }.into())
            }
            None => Err(error).into_diagnostic(),
        },
    }
}

/// The control port of the machine that `cargo image run` has booted, whatever it was for. If there
/// are several it is that of the first target in the order of `--help`.
fn running_port(board: Option<u8>) -> miette::Result<PathBuf> {
    let here = std::env::current_dir().into_diagnostic()?;
    let out = Workspace::find(&here)?.root().join("out");
    let folders = Target::value_variants().iter().map(|target| out.join(target.name()));
    let found = folders.map(|folder| running::control_port(&folder, board)).find_map(Result::ok);
    Ok(found.map_or_else(|| running::control_port(&out, board), Ok)?)
}
