//! `octetctl [--box BOX] [UNIT] VERB …` calls a verb of a unit, on this appliance or a remote one.
//! The units describe their verbs, so this program contains none. Its own commands are about the
//! operator's key (`keygen`, `sign`, `sign-coordinator`, `vouch`), the known boxes (`boxes`,
//! `revoke`), routers with OpenWrt (`openwrt`), pages for a browser (`web`), the files of a ledger
//! (`ledger genesis`), its audit (`ledger audit`), and the owner's coins (`wallet`).

#[cfg(feature = "ledger")]
mod audit;
mod board;
mod boxes;
mod completion;
mod key;
#[cfg(feature = "ledger")]
mod ledger;
mod line;
#[cfg(feature = "openwrt")]
mod openwrt;
mod remote;
mod sign;
mod target;
mod vouch;
#[cfg(feature = "ledger")]
mod wallet;
#[cfg(feature = "web")]
mod web;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use octet_control::cli::{self, CliError, Program};
use octet_control::{Client, INIT, SOCKETS};
use octet_control::{complete, escape_lines};

use crate::board::BoardArgument;
use crate::boxes::Boxes;
#[cfg(feature = "ledger")]
use crate::ledger::LedgerVerb;
use crate::line::{CommandLine, Lost, Task};
use crate::target::BoxAddress;

/// Why a command has failed.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Cli(#[from] CliError),
    #[error(transparent)]
    Key(#[from] key::KeyError),
    #[error(transparent)]
    Remote(#[from] remote::RemoteError),
    #[error(transparent)]
    Sign(#[from] sign::SignError),
    #[cfg(feature = "ledger")]
    #[error(transparent)]
    Genesis(#[from] ledger::GenesisFileError),
    #[cfg(feature = "ledger")]
    #[error(transparent)]
    Audit(#[from] audit::LedgerAuditError),
    #[cfg(feature = "ledger")]
    #[error(transparent)]
    Wallet(#[from] wallet::WalletError),
    #[cfg(feature = "openwrt")]
    #[error(transparent)]
    Openwrt(#[from] openwrt::OpenwrtError),
    #[cfg(feature = "web")]
    #[error(transparent)]
    Web(#[from] web::WebError),
    #[error("no box is known that was at {0}")]
    NoBox(target::GateAddress),
    #[error("this machine is no appliance, and no box is named")]
    NoAppliance,
    #[error("neither XDG_CONFIG_HOME nor HOME says where your files are")]
    NoHome,
}

impl From<boxes::BoxesError> for Problem {
    fn from(error: boxes::BoxesError) -> Self {
        Self::Remote(error.into())
    }
}

impl Problem {
    fn help(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Cli(error) => return error.help().map(Cow::from),
            Self::Key(error) => error.help().into(),
            Self::Remote(error) => error.help().into(),
            Self::Sign(error) => error.help().into(),
            #[cfg(feature = "ledger")]
            Self::Genesis(error) => error.help().into(),
            #[cfg(feature = "ledger")]
            Self::Audit(error) => error.help().into(),
            #[cfg(feature = "ledger")]
            Self::Wallet(error) => error.help().into(),
            #[cfg(feature = "openwrt")]
            Self::Openwrt(error) => error.help().into(),
            #[cfg(feature = "web")]
            Self::Web(error) => error.help().into(),
            Self::NoBox(_) => "`octetctl boxes` lists those that are; name it by its key".into(),
            Self::NoAppliance => {
                "say which box with --box ADDRESS; `octetctl boxes` lists those that are known"
                    .into()
            }
            Self::NoHome => "name the key: --key FILE".into(),
        })
    }
}

/// Runs the command line.
pub fn main() -> ExitCode {
    if let Some(words) = completion::words() {
        // A failed completion offers nothing: a shell would not show errors.
        let _ = completions(&words)
            .iter()
            .try_for_each(|word| octet_control::print(&format!("{word}\n")));
        return ExitCode::SUCCESS;
    }
    let outcome =
        CommandLine::parse(std::env::args()).map_err(CliError::from).map_err(Problem::from);
    match outcome.and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Cli(CliError::Usage(usage))) => {
            let _ = usage.print();
            ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1))
        }
        // A closed pipe, as in `| head`, is not an error.
        Err(Problem::Cli(CliError::Print(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // The message may contain text of another machine, so it is escaped.
            eprintln!("octetctl: {}", escape_lines(&error.to_string()));
            if let Some(help) = error.help() {
                eprintln!("  help: {}", escape_lines(&help));
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints `text`, which originates here and not from a box.
fn print(text: &str) -> Result<(), Problem> {
    Ok(octet_control::print(text).map_err(CliError::Print)?)
}

fn run(line: CommandLine) -> Result<(), Problem> {
    let key = |key: Option<PathBuf>| {
        key.map_or_else(|| Ok(config_folder()?.join("key")), Ok::<_, Problem>)
    };
    let board = line.board;
    match line.task {
        Task::Keygen(file) => {
            let public = key::generate(&key(file.or(line.key))?)?.public();
            print(&format!("{public}\n"))?;
            // This is printed to standard error, because programs read the key from standard
            // output.
            eprintln!(
                "for appliance.toml, with a name of yours:\n\n[operator]\nkeys = [{{ key = \"{public}\", name = \
                 \"owner\", may = [\"own\"] }}]"
            );
            Ok(())
        }
        Task::Sign(order) => {
            remote::check_not_revoked(&boxes()?, order.node)?;
            let key = key::read(&key(line.key)?)?;
            print(&format!("{}\n", sign::sign(&order, &key)?))?;
            Ok(())
        }
        Task::SignCoordinator(coordinator) => {
            let key = key::read(&key(line.key)?)?;
            print(&format!("{}\n", sign::sign_coordinator(&coordinator, &key)?))?;
            Ok(())
        }
        Task::Vouch(board) => {
            let Some(target) = line.target else { return Ok(()) }; // checked by the parser
            let key = key::read(&key(line.key)?)?;
            let mut boxes = boxes()?;
            let (mut client, node) = remote::connect(&target, &key, &mut boxes)?;
            let is = vouch::vouch(&mut client, node, board, &key, &mut boxes)?;
            print(&format!("board {board} is {is}: you have signed that\n"))?;
            Ok(())
        }
        Task::Boxes => {
            boxes()?.lines().iter().try_for_each(|line| print(&format!("{line}\n")))?;
            Ok(())
        }
        Task::Revoke(lost) => {
            let mut boxes = boxes()?;
            let node = match lost {
                Lost::Node(node) => node,
                Lost::At(address) => boxes.node_at(&address).ok_or(Problem::NoBox(address))?,
            };
            boxes.revoke(node)?;
            print(&format!("{node} is not spoken to any more\n"))?;
            Ok(())
        }
        #[cfg(feature = "ledger")]
        Task::Ledger(ledger) => match (ledger.verb, line.target) {
            (LedgerVerb::Genesis { file, json }, _) => print(&ledger::run(&file, json)?),
            (LedgerVerb::Audit(audit), Some(target)) => {
                let key = key::read(&key(line.key)?)?;
                let (mut client, _) = remote::connect(&target, &key, &mut boxes()?)?;
                print(&audit::of_box(&audit, &mut client, &config_folder()?)?)
            }
            (LedgerVerb::Audit(audit), None) => {
                let Some(file) = &audit.from else { return Ok(()) }; // checked by the parser
                print(&audit::of_file(&audit, file, &config_folder()?)?)
            }
        },
        #[cfg(feature = "ledger")]
        Task::Wallet(wallet) => {
            let path = key(line.key)?;
            if let Some(text) = wallet::run_here(&wallet, &path)? {
                return print(&text);
            }
            let Some(target) = line.target else { return Ok(()) }; // checked by the parser
            let key = key::read(&path)?;
            let (mut client, _) = remote::connect(&target, &key, &mut boxes()?)?;
            print(&wallet::run(&wallet, &mut client, &key, &config_folder()?)?)
        }
        #[cfg(feature = "openwrt")]
        Task::Openwrt(verb) => {
            let folder = config_folder()?.join("openwrt");
            std::fs::create_dir_all(&folder)
                .map_err(|error| key::KeyError::Disk(folder.clone(), error))?;
            let asks = match line.target {
                Some(target) => {
                    let key = key::read(&key(line.key)?)?;
                    Some(openwrt::PacketTest { target, key, boxes: boxes()? })
                }
                None => None,
            };
            Ok(openwrt::run(verb, &folder, asks)?)
        }
        #[cfg(feature = "web")]
        Task::Web(web) => {
            let Some(target) = line.target else { return Ok(()) }; // checked by the parser
            let key = key::read(&key(line.key)?)?;
            Ok(web::serve(&web, target, key, config_folder()?.join("boxes.toml"))?)
        }
        Task::Ask(args) => match line.target {
            Some(target) => call_box(&target, board, &key(line.key)?, &args),
            // On a machine without an appliance, there are no units to list.
            None if line::ask_for_help(&args) && !Path::new(SOCKETS).exists() => {
                CommandLine::help().map_or(Ok(()), |help| Err(CliError::Usage(help).into()))
            }
            None if !Path::new(SOCKETS).exists() => Err(Problem::NoAppliance),
            None => Ok(call_local(&args)?),
        },
    }
}

/// Calls the box `target`, or a board of it. The first word of `args` names the unit.
fn call_box(
    target: &BoxAddress,
    board: Option<BoardArgument>,
    key: &Path,
    args: &[String],
) -> Result<(), Problem> {
    let key = key::read(key)?;
    let mut boxes = boxes()?;
    let (mut client, node) = remote::connect(target, &key, &mut boxes)?;
    let name = format!("octetctl --box {}", target.address);
    let options = &CommandLine::options();
    if let Some(board) = board {
        let (mut client, node) = board::connect(client, node, board, &key, &mut boxes)?;
        let signer = sign::SigningCaller { node, key: &key };
        let name = &format!("{name} --board {board}");
        return Ok(cli::run_on_box(&mut client, args, Program { name, options }, Some(&signer))?);
    }
    let signer = sign::SigningCaller { node, key: &key };
    Ok(cli::run_on_box(&mut client, args, Program { name: &name, options }, Some(&signer))?)
}

/// The completions of the last of `words`.
fn completions(words: &[String]) -> Vec<String> {
    let Some((begun, before)) = words.split_last() else { return vec![] };
    let before = std::iter::once("octetctl".to_owned()).chain(before.iter().cloned());
    let Ok(CommandLine { target, board, key, task: Task::Ask(mut asked) }) =
        CommandLine::parse(before)
    else {
        return vec![];
    };
    let mut offered = if asked.is_empty() { completion::own_words(begun) } else { vec![] };
    asked.push(begun.clone());
    if let Some(target) = target {
        offered.extend(unit_completions(&target, board, key, &asked).unwrap_or_default());
    }
    offered
}

/// The completions of the last of `words` by the box `target`, or a board of it.
fn unit_completions(
    target: &BoxAddress,
    board: Option<BoardArgument>,
    key: Option<PathBuf>,
    words: &[String],
) -> Result<Vec<String>, Problem> {
    let key = key::read(&key.map_or_else(|| Ok(config_folder()?.join("key")), Ok::<_, Problem>)?)?;
    let mut boxes = boxes()?;
    let (mut client, node) = remote::connect(target, &key, &mut boxes)?;
    let offered = match board {
        None => complete(&mut client, words),
        Some(board) => {
            complete(&mut board::connect(client, node, board, &key, &mut boxes)?.0, words)
        }
    };
    Ok(offered.map_err(CliError::from)?)
}

fn boxes() -> Result<Boxes, Problem> {
    Ok(Boxes::open(&config_folder()?.join("boxes.toml"))?)
}

/// Calls this appliance. If the first word is the name of a unit's socket, it names the unit;
/// otherwise the verb is PID 1's.
fn call_local(args: &[String]) -> Result<(), CliError> {
    let socket = |unit: &str| Path::new(SOCKETS).join(format!("{unit}.sock"));
    // Flags may precede the unit.
    let at = args.iter().position(|word| !word.starts_with('-')).unwrap_or(args.len());
    let unit = args.get(at).filter(|unit| !unit.contains('/') && socket(unit).exists());
    let (unit, args, name) = match unit {
        Some(unit) => {
            let args = [&args[..at], &args[at + 1..]].concat();
            (unit.as_str(), args, format!("octetctl {unit}"))
        }
        None => (INIT, args.to_vec(), "octetctl".to_owned()),
    };
    let program = Program { name: &name, options: &CommandLine::options() };
    cli::run(&mut Client::connect(&socket(unit))?, &args, program)
}

/// The user's configuration folder (XDG Base Directory Specification), which is created if it does
/// not exist.
fn config_folder() -> Result<PathBuf, Problem> {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
    let folder = folder.ok_or(Problem::NoHome)?.join("octet");
    std::fs::create_dir_all(&folder).map_err(|error| key::KeyError::Disk(folder.clone(), error))?;
    Ok(folder)
}
