//! Parses the command line, except for the words that a unit's description defines.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser};

use crate::board::BoardArgument;
#[cfg(feature = "ledger")]
use crate::ledger::{LedgerLine, LedgerVerb, is_ledger_command};
#[cfg(feature = "openwrt")]
use crate::openwrt::OpenwrtLine;
use crate::target::{BoxAddress, GateAddress, InvalidTarget};
#[cfg(feature = "ledger")]
use crate::wallet::WalletLine;
#[cfg(feature = "web")]
use crate::web::WebLine;

/// The parsed command line.
pub struct CommandLine {
    /// The box, if it is a remote one.
    pub target: Option<BoxAddress>,
    /// The board of that box.
    pub board: Option<BoardArgument>,
    /// The operator's key file.
    pub key: Option<PathBuf>,
    pub task: Task,
}

/// The command.
pub enum Task {
    /// Generate a key.
    Keygen(Option<PathBuf>),
    /// Sign a command.
    Sign(SignLine),
    /// Sign the appointment of a box's coordinator.
    SignCoordinator(SignCoordinatorLine),
    /// Sign the key of a board.
    Vouch(BoardArgument),
    /// List the known boxes.
    Boxes,
    /// Revoke a box.
    Revoke(Lost),
    /// Check a ledger.
    #[cfg(feature = "ledger")]
    Ledger(LedgerLine),
    /// Show or move coins.
    #[cfg(feature = "ledger")]
    Wallet(WalletLine),
    /// Configure a router with OpenWrt.
    #[cfg(feature = "openwrt")]
    Openwrt(OpenwrtLine),
    /// Serve the box's pages.
    #[cfg(feature = "web")]
    Web(WebLine),
    /// Call a unit.
    Ask(Vec<String>),
}

/// Controls an Octet appliance
///
/// Without --box it controls the node that it runs on. `--box BOX --help` lists the units of a box,
/// `--box BOX UNIT --help` the verbs of a unit. Options may also follow the verb. In bash,
/// `complete -o default -C octetctl octetctl` enables completion of units and verbs of known boxes.
#[derive(Parser)]
#[command(name = "octetctl", disable_help_flag = true)]
struct Words {
    /// The box: KEY@ADDRESS[:PORT], or ADDRESS[:PORT] of a known box
    #[arg(long = "box", value_name = "BOX")]
    target: Option<BoxAddress>,
    /// A board of that box, through the box's gate: N, or N=KEY if its key is not known yet
    #[arg(long, value_name = "N")]
    board: Option<BoardArgument>,
    /// Your key file [default: ~/.config/octet/key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// UNIT VERB [ARGUMENT]..., or one of: `keygen [FILE]` generates a key, `boxes` lists known
    /// boxes, `revoke BOX` blocks a lost box, `sign` signs a command for later, `sign-coordinator`
    /// appoints a box's coordinator, `vouch N` signs the key of a board, `openwrt` configures a
    /// router with OpenWrt, `web` serves the pages of a box to your browser, `ledger genesis FILE` checks
    /// how a ledger begins, `ledger audit` recomputes that of a box, `wallet` shows and moves your coins on a ledger
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORD")]
    words: Vec<String>,
}

/// Generates a key and prints the public key, for `[operator] keys` in appliance.toml
#[derive(Parser)]
#[command(name = "octetctl keygen", bin_name = "octetctl keygen")]
struct KeygenLine {
    /// The key file [default: ~/.config/octet/key]
    file: Option<PathBuf>,
}

/// Lists the known boxes: public key, whether it is revoked, and last address
#[derive(Parser)]
#[command(name = "octetctl boxes", bin_name = "octetctl boxes")]
struct BoxesLine {}

/// Signs the key of a board of your box, after you have compared it, and stores the record on the
/// box
#[derive(Parser)]
#[command(name = "octetctl vouch", bin_name = "octetctl --box BOX vouch")]
struct VouchLine {
    /// The board: N, or N=KEY
    board: BoardArgument,
}

/// Blocks a lost or stolen box: octetctl never connects to its key again
#[derive(Parser)]
#[command(name = "octetctl revoke", bin_name = "octetctl revoke")]
struct RevokeLine {
    /// The box: its public key (a did:key), or ADDRESS[:PORT] of a known box
    lost: Lost,
}

/// A lost box, as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    Node(octet_control::PublicKey),
    /// The box that was last seen at this address.
    At(GateAddress),
}

impl std::str::FromStr for Lost {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        if let Ok(node) = text.parse() {
            return Ok(Self::Node(node));
        }
        let target: BoxAddress = text.parse()?;
        Ok(target.key.map_or(Self::At(target.address), Self::Node))
    }
}

/// Signs a command that anybody can deliver, and that runs once: `octetctl gate run COMMAND`
#[derive(Parser)]
#[command(name = "octetctl sign", bin_name = "octetctl sign")]
struct SignWords {
    #[command(flatten)]
    line: SignLine,
}

/// What is to be signed.
#[derive(Debug, Args)]
pub struct SignLine {
    /// The public key of the node that runs it (a did:key)
    #[arg(long, value_name = "KEY")]
    pub node: octet_control::PublicKey,
    /// How long it is valid, 24 hours at most
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub good_for: std::time::Duration,
    /// The unit; `init` is PID 1
    pub unit: octet_control::UnitName,
    /// The verb
    pub verb: String,
    /// The arguments, each as NAME=VALUE
    pub args: Vec<String>,
}

/// Signs that a node is the coordinator of your box from now on; `octetctl cluster adopt` installs
/// the statement there
#[derive(Debug, Parser)]
#[command(name = "octetctl sign-coordinator", bin_name = "octetctl sign-coordinator")]
pub struct SignCoordinatorLine {
    /// The public key of the new coordinator (a did:key), as `identity show` prints it there
    pub coordinator: octet_control::PublicKey,
    /// One more than `cluster show` prints; the statement with the highest epoch wins
    #[arg(long, value_name = "N")]
    pub epoch: u64,
    /// The previous coordinator, whose boards it takes over
    #[arg(long, value_name = "OLDKEY")]
    pub replaces: Option<octet_control::PublicKey>,
}

impl Words {
    /// Parses `line`. Options of this program may also follow the verb.
    fn spread(line: Vec<String>) -> Result<Self, clap::Error> {
        let Self { target, board, key, mut words } = Self::try_parse_from(&line)?;
        let free =
            [("--box", target.is_none()), ("--board", board.is_none()), ("--key", key.is_none())];
        let names: Vec<_> = free.into_iter().filter(|it| it.1).map(|it| it.0).collect();
        let mut front = line[..line.len() - words.len()].to_vec();
        front.extend(octet_control::cli::take_options(&mut words, &names));
        let whole = Self::try_parse_from(front)?;
        if whole.board.is_some() && whole.target.is_none() {
            let kind = clap::error::ErrorKind::MissingRequiredArgument;
            return Err(
                Self::command().error(kind, "--board is about a box: name it with --box BOX")
            );
        }
        Ok(Self { words, ..whole })
    }
}

impl CommandLine {
    /// Parses `line`, whose first word is the program's name.
    ///
    /// # Errors
    /// The line is invalid, or asks for help; `clap` prints either.
    pub fn parse(line: impl IntoIterator<Item = String>) -> Result<Self, clap::Error> {
        let Words { target, board, key, words } = Words::spread(line.into_iter().collect())?;
        let task = match words.first().map(String::as_str) {
            Some("keygen") => Task::Keygen(KeygenLine::try_parse_from(&words)?.file),
            Some("boxes") => BoxesLine::try_parse_from(&words).map(|BoxesLine {}| Task::Boxes)?,
            Some("revoke") => Task::Revoke(RevokeLine::try_parse_from(&words)?.lost),
            Some("sign-coordinator") => {
                Task::SignCoordinator(SignCoordinatorLine::try_parse_from(&words)?)
            }
            // On an appliance there is no owner's key, so `vouch` is a unit's verb there.
            Some("vouch") if target.is_some() => {
                Task::Vouch(VouchLine::try_parse_from(&words)?.board)
            }
            Some("sign") => Task::Sign(SignWords::try_parse_from(&words)?.line),
            #[cfg(feature = "ledger")]
            Some("ledger") if is_ledger_command(&words) => {
                use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
                let line = LedgerLine::try_parse_from(&words)?;
                let refused = match (&line.verb, &target) {
                    (LedgerVerb::Genesis { .. }, Some(_)) => Some((
                        ArgumentConflict,
                        "`ledger genesis` reads a file of this machine, and asks no box",
                    )),
                    (LedgerVerb::Audit(audit), Some(_)) if audit.from.is_some() => Some((
                        ArgumentConflict,
                        "`ledger audit --from` reads a file of this machine, and asks no box",
                    )),
                    (LedgerVerb::Audit(audit), None) if audit.from.is_none() => Some((
                        MissingRequiredArgument,
                        "`ledger audit` asks the ledger of a box: name it with --box BOX",
                    )),
                    _ if board.is_some() => {
                        Some((ArgumentConflict, "`ledger audit` asks the box, and no board"))
                    }
                    _ => None,
                };
                if let Some((kind, why)) = refused {
                    return Err(Words::command().error(kind, why));
                }
                Task::Ledger(line)
            }
            #[cfg(feature = "ledger")]
            Some("wallet") => {
                let line = WalletLine::try_parse_from(&words)?;
                if line.asks_box() && target.is_none() || board.is_some() {
                    let kind = clap::error::ErrorKind::MissingRequiredArgument;
                    let why = "`wallet` asks the ledger of a box: name it with --box BOX";
                    return Err(Words::command().error(kind, why));
                }
                Task::Wallet(line)
            }
            #[cfg(feature = "openwrt")]
            Some("openwrt") => {
                let line = OpenwrtLine::try_parse_from(&words)?;
                let why = match (&target, board) {
                    (Some(_), None) if line.asks_boards() => None,
                    (Some(_), None) => Some("of a box, `openwrt` has `verify` alone"),
                    (_, Some(_)) => Some("`openwrt verify` asks all boards of the box"),
                    (None, None) => None,
                };
                if let Some(why) = why {
                    let kind = clap::error::ErrorKind::ArgumentConflict;
                    return Err(Words::command().error(kind, why));
                }
                Task::Openwrt(line)
            }
            // A unit may have this name: then a verb follows.
            #[cfg(feature = "web")]
            Some("web") if target.is_some() && is_web_command(&words) => {
                let line = WebLine::try_parse_from(&words)?;
                if board.is_some() {
                    let kind = clap::error::ErrorKind::ArgumentConflict;
                    let why = "`web` serves pages of all boards of the box";
                    return Err(Words::command().error(kind, why));
                }
                Task::Web(line)
            }
            _ => Task::Ask(words),
        };
        Ok(Self { target, board, key, task })
    }

    /// The options of this program, as help lists them.
    pub fn options() -> String {
        octet_control::cli::options_of(&Words::command())
    }

    /// The program's own help, for a machine without an appliance.
    pub fn help() -> Option<clap::Error> {
        let command = Words::command().disable_help_flag(false);
        command.try_get_matches_from(["octetctl", "--help"]).err()
    }
}

/// Whether `words` are the command `web`, and not a verb of a unit with that name.
#[cfg(feature = "web")]
fn is_web_command(words: &[String]) -> bool {
    words.get(1).is_none_or(|next| next.starts_with('-'))
}

/// Whether `args` ask for help.
pub fn ask_for_help(args: &[String]) -> bool {
    args.first().is_none_or(|first| ["help", "-h", "--help"].contains(&first.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> CommandLine {
        CommandLine::parse(line.split(' ').map(str::to_owned)).unwrap()
    }

    #[test]
    fn what_is_for_a_unit_is_left_alone() {
        let line = parse("octetctl --box 192.0.2.1 --key k logs -f --lines 3");
        assert_eq!(line.target.unwrap().address.to_string(), "192.0.2.1:4040");
        assert_eq!(line.key, Some("k".into()));
        assert!(matches!(line.task, Task::Ask(words) if words == ["logs", "-f", "--lines", "3"]));
        assert!(matches!(parse("octetctl --help").task, Task::Ask(words) if words == ["--help"]));
        assert!(matches!(parse("octetctl boxes").task, Task::Boxes));
        let node = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
        for lost in [node.to_owned(), format!("{node}@192.0.2.1")] {
            let line = parse(&format!("octetctl revoke {lost}"));
            assert!(matches!(line.task, Task::Revoke(Lost::Node(key)) if key.to_string() == node));
        }
        let line = parse("octetctl revoke 192.0.2.1");
        assert!(matches!(line.task, Task::Revoke(Lost::At(at)) if at.parts().0 == "192.0.2.1"));
        assert!(matches!(parse("octetctl keygen f").task, Task::Keygen(Some(_))));
        let line =
            parse(&format!("octetctl --key k sign-coordinator {node} --epoch 3 --replaces {node}"));
        let Task::SignCoordinator(signed) = line.task else { panic!("it is to be signed") };
        assert_eq!((signed.epoch, signed.replaces), (3, Some(signed.coordinator)));
        assert!(
            CommandLine::parse(["octetctl", "sign-coordinator", node].map(str::to_owned)).is_err()
        );
        let line = parse(&format!("octetctl --box 192.0.2.1 --board 3={node} status"));
        assert_eq!(line.board.map(|it| (it.number, it.key.is_some())), Some((3, true)));
        for spread in [
            "octetctl status --json --box 192.0.2.1 --board 3 --key k",
            "octetctl --box 192.0.2.1 status --board 3 --json --key k",
        ] {
            let line = parse(spread);
            let (board, key) = (line.board.map(|it| it.number), line.key.is_some());
            assert_eq!((board, key, line.target.is_some()), (Some(3), true, true), "{spread}");
            assert!(matches!(line.task, Task::Ask(words) if words == ["status", "--json"]));
        }
        // The second `--box` belongs to PID 1's verb, for a remote box and for this one.
        for own in ["octetctl --box 192.0.2.1 status --box", "octetctl status --box"] {
            assert!(matches!(parse(own).task, Task::Ask(words) if words == ["status", "--box"]));
        }
        assert!(CommandLine::options().contains("--board <N>"), "{}", CommandLine::options());
        let line = parse("octetctl --box 192.0.2.1 vouch 3");
        assert!(matches!(line.task, Task::Vouch(BoardArgument { number: 3, key: None })));
        let line = parse("octetctl openwrt adopt 192.0.2.1");
        assert!(matches!(line.task, Task::Openwrt(_)) && line.target.is_none());
        assert!(
            CommandLine::parse(
                ["octetctl", "openwrt", "diff", "--password", "a"].map(str::to_owned)
            )
            .is_err()
        );
        // The other verbs of `ledger` are the unit's.
        assert!(matches!(parse("octetctl ledger genesis f --json").task, Task::Ledger(_)));
        assert!(matches!(parse("octetctl ledger show").task, Task::Ask(_)));
        let line = "octetctl --box 192.0.2.1 ledger genesis f";
        assert!(CommandLine::parse(line.split(' ').map(str::to_owned)).is_err());
        let audit = "octetctl --box 192.0.2.1 ledger audit --genesis f --json";
        assert!(matches!(parse(audit).task, Task::Ledger(_)));
        assert!(matches!(parse("octetctl ledger audit --from f").task, Task::Ledger(_)));
        assert!(matches!(parse("octetctl --box 192.0.2.1 ledger blocks").task, Task::Ask(_)));
        for bad in [
            "ledger audit",
            "--box 192.0.2.1 --board 3 ledger audit",
            "--box 192.0.2.1 ledger audit --from f",
        ] {
            let line = format!("octetctl {bad}");
            assert!(CommandLine::parse(line.split(' ').map(str::to_owned)).is_err(), "{bad}");
        }
        // A unit may be named `web`, too.
        assert!(matches!(parse("octetctl --box 192.0.2.1 web").task, Task::Web(_)));
        let Task::Web(line) = parse("octetctl --box 192.0.2.1 web --port 8000").task else {
            panic!("it is `web`")
        };
        assert_eq!(line.port, 8000);
        let of_unit = parse("octetctl --box 192.0.2.1 web status");
        assert!(matches!(of_unit.task, Task::Ask(words) if words == ["web", "status"]));
        assert!(
            matches!(parse("octetctl web").task, Task::Ask(_)),
            "without a box there are no pages"
        );
        let line = "octetctl --box 192.0.2.1 --board 3 web";
        assert!(CommandLine::parse(line.split(' ').map(str::to_owned)).is_err());
        // `verify` is the only command that involves boards, and it involves all of them.
        let line = parse("octetctl --box 192.0.2.1 openwrt verify");
        assert!(matches!(line.task, Task::Openwrt(_)) && line.target.is_some());
        for words in ["--box 192.0.2.1 openwrt diff", "--box 192.0.2.1 --board 3 openwrt verify"] {
            let line = format!("octetctl {words}");
            let refused = CommandLine::parse(line.split(' ').map(str::to_owned)).err().unwrap();
            assert_eq!(refused.kind(), clap::error::ErrorKind::ArgumentConflict, "{words}");
        }
        assert!(
            CommandLine::parse(["octetctl", "--board", "3", "status"].map(str::to_owned)).is_err()
        );
        assert!(CommandLine::parse(["octetctl", "--box", ""].map(str::to_owned)).is_err());
    }
}
