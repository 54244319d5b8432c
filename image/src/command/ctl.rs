//! `cargo image ctl`

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args as _, FromArgMatches};
use miette::{Diagnostic, IntoDiagnostic};
use octet_control::CallError;
use octet_control::cli::{self, CliError};
use octet_control::escape_lines;
use octet_machine::connect;

use crate::output::file_lock::FileLock;
use crate::running::{self, Out};

/// How long the first answer may take: the kernel may still boot.
const FIRST_REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// Calls a verb of the appliance that `cargo image run` has booted, as `octetctl` does
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    target: TargetOptions,
    /// UNIT VERB and its arguments, or a verb of PID 1; without any it lists units and verbs
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "VERB")]
    words: Vec<String>,
}

/// Of whom is asked. The same may stand after the verb.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
struct TargetOptions {
    /// The box, if several `cargo image run` are running; without it they are listed
    #[arg(long, value_name = "N")]
    machine: Option<u32>,
    /// A board of `cargo image run --cluster`; default: the router
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    board: Option<u8>,
    #[command(flatten)]
    out: Out,
}

impl TargetOptions {
    /// With what of it stands among `words`, which is taken out of them.
    fn merge_from(self, words: &mut Vec<String>) -> Result<Self, clap::Error> {
        let options = [
            ("--machine", self.machine.is_none()),
            ("--board", self.board.is_none()),
            ("--out", self.out.out.is_none()),
        ];
        let names: Vec<_> = options.into_iter().filter(|it| it.1).map(|it| it.0).collect();
        let taken = cli::take_options(words, &names);
        let command = Self::augment_args(clap::Command::new(PROGRAM));
        let matches =
            command.try_get_matches_from([PROGRAM.to_owned()].into_iter().chain(taken))?;
        let Self { machine, board, out } = Self::from_arg_matches(&matches)?;
        Ok(Self {
            machine: self.machine.or(machine),
            board: self.board.or(board),
            out: Out { out: self.out.out.or(out.out) },
        })
    }
}

/// As help calls it.
const PROGRAM: &str = "cargo image ctl";

#[derive(Debug, thiserror::Error, Diagnostic)]
enum CtlError {
    #[error(
        "another `cargo image ctl` asks this machine, and its control port serves one at a time"
    )]
    #[diagnostic(help("end that one (process {0}) first"))]
    PortBusy(String),
    #[error("the machine does not answer on its control port ({0})")]
    #[diagnostic(help(
        "wait until the machine has booted: the terminal of `cargo image run` shows it"
    ))]
    NoAnswer(CallError),
    #[error("the machine is off")]
    #[diagnostic(help(
        "`cargo image box` shows which machines of a box are on, and `cargo image box on` switches one on"
    ))]
    PoweredOff,
    #[error("{message}")]
    Refused {
        message: String,
        #[help]
        help: String,
    },
}

/// Runs the subcommand.
pub fn run(Args { target, mut words }: Args) -> miette::Result<ExitCode> {
    let target = match target.merge_from(&mut words) {
        Ok(target) => target,
        Err(usage) => return print_usage(&usage),
    };
    let options = cli::options_of(&TargetOptions::augment_args(clap::Command::new(PROGRAM)));
    let port = match running::control_port(&target.out.folder()?, target.machine, target.board) {
        Ok(port) => port,
        // Without an appliance there is nobody who could say what there is to ask.
        Err(_) if asks_for_help(&words) => {
            help().print_help().into_diagnostic()?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(error.into()),
    };
    let _alone = lock_port(&port)?;
    // After the first answer a verb may take its time.
    let client = connect(&port, Instant::now() + FIRST_REPLY_TIMEOUT);
    let mut client = client.map_err(|error| match error {
        // QEMU listens from its start, whatever the guest does.
        CallError::Connect { .. } => CtlError::PoweredOff,
        error => CtlError::NoAnswer(error),
    })?;
    let program = cli::Program { name: PROGRAM, options: &options };
    match cli::run_on_box(&mut client, &words, program, None) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(CliError::Usage(usage)) => print_usage(&usage),
        // `| head` is not a failure.
        Err(CliError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => match error.help() {
            Some(help) => {
                let help = escape_lines(help);
                Err(CtlError::Refused { message: escape_lines(&error.to_string()), help }.into())
            }
            None => Err(error).into_diagnostic(),
        },
    }
}

/// Whether `words` ask what there is.
fn asks_for_help(words: &[String]) -> bool {
    matches!(words.first().map(String::as_str), Some("help" | "-h" | "--help"))
}

/// What is known where no appliance runs.
fn help() -> clap::Command {
    Args::augment_args(clap::Command::new(PROGRAM)).after_help(
        "A machine that runs lists its units and verbs here: `cargo image run` starts one.",
    )
}

/// Prints help, or what is wrong with a command line.
fn print_usage(usage: &clap::Error) -> miette::Result<ExitCode> {
    usage.print().into_diagnostic()?;
    Ok(ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1)))
}

/// Sees that no other `cargo image ctl` uses the control port until the value is dropped: a file beside the port is
/// locked, and has the number of the process that has locked it.
fn lock_port(port: &Path) -> miette::Result<FileLock> {
    let path: PathBuf = port.with_extension("client");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    match FileLock::try_new(file.into_diagnostic()?) {
        Ok(file) => {
            file.set_len(0).into_diagnostic()?;
            write!(&*file, "{}", std::process::id()).into_diagnostic()?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            Err(CtlError::PortBusy(fs::read_to_string(&path).unwrap_or_default()).into())
        }
        Err(TryLockError::Error(error)) => Err(error).into_diagnostic(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_named_before_a_verb_or_after_it() {
        let parse = |options: TargetOptions, line: &str| {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let options = options.merge_from(&mut words).map_err(|error| error.to_string())?;
            Ok::<_, String>((options.machine, options.board, words.join(" ")))
        };
        let after = parse(TargetOptions::default(), "forward ping --board 1 --machine=2 --path 3");
        assert_eq!(after.unwrap(), (Some(2), Some(1), "forward ping --path 3".to_owned()));
        let before = TargetOptions { board: Some(3), ..TargetOptions::default() };
        assert_eq!(parse(before, "status").unwrap(), (None, Some(3), "status".to_owned()));
        assert!(parse(TargetOptions::default(), "status --board 33").is_err());
        // The folder of what runs, too.
        for line in ["--out /tmp/other --board 3 status", "status --board 3 --out=/tmp/other"] {
            let command = Args::augment_args(clap::Command::new(PROGRAM));
            let words = [PROGRAM].into_iter().chain(line.split(' '));
            let matches = command.try_get_matches_from(words).unwrap();
            let Args { target: options, mut words } = Args::from_arg_matches(&matches).unwrap();
            let options = options.merge_from(&mut words).unwrap();
            assert_eq!(options.out.folder().unwrap(), Path::new("/tmp/other"), "{line}");
            assert_eq!((options.board, words), (Some(3), vec!["status".to_owned()]), "{line}");
        }
        let help = cli::options_of(&TargetOptions::augment_args(clap::Command::new(PROGRAM)));
        assert!(help.contains("--machine <N>") && help.contains("--board <N>"), "{help}");
        assert!(help.contains("--out <DIR>"), "{help}");
        let alone = super::help().render_help().to_string();
        assert!(alone.contains("--board <N>") && alone.contains("`cargo image run`"), "{alone}");
    }

    #[test]
    fn who_has_the_port_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("control");
        let first = lock_port(&port).unwrap();
        let error = lock_port(&port).unwrap_err();
        let help = error.help().unwrap().to_string();
        assert!(help.contains(&std::process::id().to_string()), "{error}: {help}");
        drop(first);
        lock_port(&port).unwrap();
    }
}
