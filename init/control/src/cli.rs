//! Builds a command line from the verbs that a unit describes: nothing here knows any verb.

use std::io::{self, Read, Write};
use std::path::Path;

use clap::{ArgAction, Command};
use octet_appliance::UnitName;
use serde_json::{Map, Value};

use crate::UNITS;
use crate::client::{CallError, Client};
use crate::file::{FILE_NAME, FOLDER, FileArg, LocalFile, Source};
use crate::line::escape_lines;
use crate::message::FailureCode;
use crate::render::render;
use crate::verb::{Arg, ArgKind, Verb};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line does not match the verbs, or requests help; `clap` knows what to print.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The unit did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A file that the command line names cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// As given on the command line.
        path: String,
        source: io::Error,
    },
    /// A file that is to be signed cannot be read.
    #[error("cannot sign the file: {0}")]
    ReadFile(io::Error),
    /// The call could not be signed.
    #[error("cannot sign this: {0}")]
    Sign(String),
    /// The answer could not be printed.
    #[error("cannot print the answer: {0}")]
    Print(#[from] io::Error),
}

impl CliError {
    /// What to do about it, if the unit has said so.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Call(CallError::Failure(failure)) => Some(&failure.help),
            _ => None,
        }
    }
}

/// Maximum size of a file whose digest is signed, in bytes: it is held in memory.
const MAX_SIGNED_FILE: usize = 16 << 20;

/// Signs the calls of verbs that require it, with an operator's key.
pub trait CallSigner {
    /// Signs the command of `unit`, `verb` and `args`; returns it as text.
    ///
    /// # Errors
    /// It cannot be signed; in words.
    fn sign(
        &self,
        unit: &UnitName,
        verb: &str,
        args: &Map<String, Value>,
    ) -> Result<String, String>;

    /// The SHA-256 digest of `bytes`, in hexadecimal.
    fn sha256(&self, bytes: &[u8]) -> String;
}

/// The program that runs a command line.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// Its name, with the options that were given.
    pub name: &'a str,
    /// Its own options, which may stand before a unit or after its verb, one a line for help.
    pub options: &'a str,
}

/// The options of `command`, one line of help each.
pub fn options_of(command: &Command) -> String {
    let named = command.get_arguments().filter_map(|arg| {
        let value = arg.get_value_names()?.first()?;
        Some((format!("--{} <{value}>", arg.get_long()?), arg.get_help()?.to_string()))
    });
    let named: Vec<_> = named.collect();
    let width = named.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    named.iter().map(|(name, help)| format!("      {name:width$}  {help}\n")).collect()
}

/// Removes options from `words` that have one of `names` and a value, also after a unit's verb, and
/// returns them unchanged. An option without a value stays, because it may belong to the verb.
pub fn take_options(words: &mut Vec<String>, names: &[&str]) -> Vec<String> {
    let mut taken = vec![];
    let mut at = 0;
    while at < words.len() && words[at] != "--" {
        let (name, value) = match words[at].split_once('=') {
            Some((name, _)) => (name, Some(1)),
            None => {
                let next = words.get(at + 1);
                (words[at].as_str(), next.filter(|next| !next.starts_with('-')).map(|_| 2))
            }
        };
        match value.filter(|_| names.contains(&name)) {
            Some(count) => taken.extend(words.drain(at..at + count)),
            None => at += 1,
        }
    }
    taken
}

/// As [`run`], on a connection to PID 1 that reaches every unit: a first word that is not a verb of
/// PID 1 names the unit.
///
/// # Errors
/// As [`run`].
pub fn run_on_box<S: Read + Write>(
    client: &mut Client<S>,
    args: &[String],
    program: Program<'_>,
    signer: Option<&dyn CallSigner>,
) -> Result<(), CliError> {
    let verbs = client.describe()?;
    // Flags may stand before it.
    let at = args.iter().position(|word| !word.starts_with('-')).unwrap_or(args.len());
    let first = args.get(at).filter(|first| !verbs.iter().any(|verb| verb.name == **first));
    let unit = first.and_then(|first| UnitName::try_from(first.clone()).ok());
    let Some(unit) = unit.filter(|unit| unit.as_str() != "help") else {
        return run_verbs(client, &verbs, args, program);
    };
    let name = format!("{} {unit}", program.name);
    client.set_unit(Some(unit.clone()));
    match client.describe() {
        Ok(verbs) => {
            let signer = signer.map(|signer| (signer, unit));
            let args = [&args[..at], &args[at + 1..]].concat();
            let command = command(Program { name: &name, ..program }, &verbs, "");
            run_verb(client, &verbs, &args, command, signer)
        }
        // Then it was meant as a verb: the usage lists them.
        Err(CallError::Failure(failure)) if failure.code == FailureCode::NotFound => {
            client.set_unit(None);
            run_verbs(client, &verbs, args, program)
        }
        Err(error) => Err(error.into()),
    }
}

/// Runs the verb that `args` names (without the program's own name), and prints its answer: as text
/// for people, or with `--json` as one JSON value per line.
///
/// # Errors
/// The arguments do not match the verbs, or the unit did not answer.
pub fn run<S: Read + Write>(
    client: &mut Client<S>,
    args: &[String],
    program: Program<'_>,
) -> Result<(), CliError> {
    let verbs = client.describe()?;
    run_verbs(client, &verbs, args, program)
}

/// Runs one of `verbs`, which belong to the unit that `client` calls. If that is PID 1, help also
/// lists the units.
fn run_verbs<S: Read + Write>(
    client: &mut Client<S>,
    verbs: &[Verb],
    args: &[String],
    program: Program<'_>,
) -> Result<(), CliError> {
    let names_one = args.iter().any(|word| verbs.iter().any(|verb| verb.name == *word));
    let has_units = verbs.iter().any(|verb| verb.name == UNITS);
    let units = match has_units && !names_one {
        // If that fails, help is printed without them.
        true => client.call(UNITS, Map::new()).unwrap_or_default(),
        false => Value::Null,
    };
    let command = command(program, verbs, &format_units(&units));
    run_verb(client, verbs, args, command, None)
}

/// One line for each of `units`, as PID 1 lists them.
fn format_units(units: &Value) -> String {
    let text = |unit: &Value, key: &str| escape_lines(unit[key].as_str().unwrap_or_default());
    let units = units.as_array().map(Vec::as_slice).unwrap_or_default();
    let names = || units.iter().map(|unit| text(unit, "name"));
    let width = names().map(|name| name.len()).max().unwrap_or_default();
    let described = names().zip(units.iter().map(|unit| text(unit, "description")));
    described.map(|(name, is)| format!("  {name:width$}  {is}\n")).collect()
}

fn run_verb<S: Read + Write>(
    client: &mut Client<S>,
    verbs: &[Verb],
    args: &[String],
    command: Command,
    signer: Option<(&dyn CallSigner, UnitName)>,
) -> Result<(), CliError> {
    let program = command.get_name().to_owned();
    let words = std::iter::once(program.as_str()).chain(args.iter().map(String::as_str));
    let matches = command.try_get_matches_from(words)?;
    let json = matches.get_flag("json");
    let Some((name, matches)) = matches.subcommand() else {
        return Ok(()); // clap demands a subcommand
    };
    let Some(verb) = verbs.iter().find(|verb| verb.name == name) else {
        return Ok(()); // clap knows only these
    };
    let mut failed = None;
    let print = |value: &Value| {
        let text = if json { format!("{value}\n") } else { render(verb, value) };
        io::stdout().write_all(text.as_bytes())
    };
    let mut args = arguments(verb, matches);
    let mut file = open_file(verb, matches)?;
    if let Some((name, file)) = &file {
        args.insert(name.clone(), serde_json::json!(file.describe()));
        if matches!(file, LocalFile::Folder(..)) {
            args.insert(FOLDER.to_owned(), true.into());
        }
        let path = matches.get_one::<String>(name).filter(|path| *path != "-");
        if let Some(path) = path.filter(|_| verb.args.iter().any(|arg| arg.name == FILE_NAME)) {
            args.entry(FILE_NAME).or_insert_with(|| path.clone().into());
        }
    }
    if let (Some(signed), Some((signer, unit))) = (verb.signed, signer) {
        args.entry("sequence").or_insert_with(|| signed.sequence.into());
        if let Some((name, file)) = &mut file {
            let sha256 = Some(
                signer.sha256(file.read_into_memory(MAX_SIGNED_FILE).map_err(CliError::ReadFile)?),
            );
            args.insert(name.clone(), serde_json::json!(FileArg { sha256, ..file.describe() }));
        }
        let command = signer.sign(&unit, &verb.name, &args).map_err(CliError::Sign)?;
        args.insert("signed".into(), command.into());
    }
    let file = file.as_mut().map(|(_, file)| file as &mut dyn Source);
    let end = client.call_with(name, args, file, |item| {
        failed = print(item).err();
        failed.is_none()
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None if end.is_null() => Ok(()),
        None => Ok(print(&end)?),
    }
}

/// The command line for `verbs`; help lists `units` after them.
fn command(program: Program<'_>, verbs: &[Verb], units: &str) -> Command {
    let Program { name, options } = program;
    let mut more = String::new();
    if !units.is_empty() {
        more += &format!("Units, each with verbs of its own (`{name} UNIT --help`):\n{units}\n");
    }
    if !options.is_empty() {
        more += &format!("Before a unit or after its verb:\n{options}");
    }
    Command::new(name.to_owned())
        .about("Controls an Octet appliance")
        .after_help(more.trim_end().to_owned())
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            clap::Arg::new("json")
                .long("json")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Print JSON, one value per line"),
        )
        // A unit's texts must not contain terminal escapes.
        .subcommands(verbs.iter().map(|verb| {
            Command::new(escape_lines(&verb.name))
                .about(escape_lines(&verb.help))
                .hide(verb.internal)
                .args(verb.args.iter().map(argument))
        }))
}

fn argument(arg: &Arg) -> clap::Arg {
    let shown =
        clap::Arg::new(arg.name.clone()).help(escape_lines(&arg.help)).required(arg.required);
    let named = shown.clone().long(escape_lines(&arg.name)).short(arg.short);
    match arg.kind {
        ArgKind::Text => shown.value_name(escape_lines(&arg.name).to_uppercase()),
        ArgKind::File => shown.value_name(format!("{}|-", escape_lines(&arg.name).to_uppercase())),
        ArgKind::Option => named.value_name("VALUE"),
        ArgKind::Integer => named.value_name("N").value_parser(clap::value_parser!(u64)),
        ArgKind::Flag => named.action(ArgAction::SetTrue),
    }
}

/// Converts the command line to arguments of the protocol.
fn arguments(verb: &Verb, matches: &clap::ArgMatches) -> Map<String, Value> {
    verb.args
        .iter()
        .filter_map(|arg| {
            let value = match arg.kind {
                ArgKind::Text | ArgKind::Option => {
                    matches.get_one::<String>(&arg.name).cloned().map(Value::from)
                }
                ArgKind::Integer => matches.get_one::<u64>(&arg.name).copied().map(Value::from),
                ArgKind::Flag => matches.get_flag(&arg.name).then_some(Value::Bool(true)),
                ArgKind::File => None, // stands for itself only once it is open
            };
            value.map(|value| (arg.name.clone(), value))
        })
        .collect()
}

/// Opens the file named on the command line; returns it with the name of its argument.
fn open_file(
    verb: &Verb,
    matches: &clap::ArgMatches,
) -> Result<Option<(String, LocalFile)>, CliError> {
    let Some(arg) = verb.args.iter().find(|arg| arg.kind == ArgKind::File) else {
        return Ok(None);
    };
    let Some(path) = matches.get_one::<String>(&arg.name) else { return Ok(None) };
    let takes_folder = verb.args.iter().any(|arg| arg.name == FOLDER && arg.kind == ArgKind::Flag);
    let file = match takes_folder && path != "-" && Path::new(path).is_dir() {
        true => LocalFile::open_folder(Path::new(path)),
        false => LocalFile::open(path),
    };
    let file = file.map_err(|source| CliError::Open { path: path.clone(), source })?;
    Ok(Some((arg.name.clone(), file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::logs::logs_verb;
    use crate::message::{ClientMessage, Reply, ReplyBody};
    use octet_appliance::operator::Permission;
    use serde_json::json;
    use std::os::unix::net::UnixStream;

    const OCTETCTL: Program<'static> = Program { name: "octetctl", options: "" };

    fn verbs() -> Vec<Verb> {
        let signal = Verb::new("signal", Permission::Operate, "sends a signal");
        let place = Verb::new("place", Permission::Own, "tells PID 1").internal();
        vec![signal.required("unit", ArgKind::Text, "which"), logs_verb(), place]
    }

    fn parse(line: &str) -> Result<Value, clap::Error> {
        let verbs = verbs();
        let words = std::iter::once("octetctl").chain(line.split_whitespace());
        let matches = command(OCTETCTL, &verbs, "").try_get_matches_from(words)?;
        let (name, matches) = matches.subcommand().unwrap();
        let verb = verbs.iter().find(|verb| verb.name == name).unwrap();
        let args = arguments(verb, matches);
        assert!(verb.check(args.clone()).is_ok(), "{args:?}");
        Ok(Value::Object(args))
    }

    #[test]
    fn arguments_become_json() {
        for (line, wanted) in [
            ("logs", json!({})),
            ("logs console", json!({"unit": "console"})),
            ("logs -f console", json!({"unit": "console", "follow": true})),
            ("logs --follow --since 10m", json!({"since": "10m", "follow": true})),
            (
                "logs --lines 3 --since 2026-01-31 console",
                json!({"unit": "console", "since": "2026-01-31", "lines": 3}),
            ),
            ("signal x", json!({"unit": "x"})),
        ] {
            assert_eq!(parse(line).unwrap(), wanted, "{line}");
        }
    }

    /// A signer whose signature is the signed content.
    struct Scribe;

    impl CallSigner for Scribe {
        fn sign(
            &self,
            unit: &UnitName,
            verb: &str,
            args: &Map<String, Value>,
        ) -> Result<String, String> {
            Ok(format!("{unit} {verb} {}", Value::Object(args.clone())))
        }

        fn sha256(&self, bytes: &[u8]) -> String {
            format!("of {}", bytes.len())
        }
    }

    /// A box with one unit, `config`, whose verb `apply` must be signed, and whose verb `add` takes folders, too; returns
    /// the arguments it was called with.
    fn ask_box(line: &str, signer: Option<&dyn CallSigner>) -> Map<String, Value> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let unit = std::thread::spawn(move || {
            let (mut connection, mut buffer) = (Connection::default(), [0; 1000]);
            loop {
                let count = theirs.read(&mut buffer).unwrap();
                for message in connection.received(&buffer[..count], true) {
                    let ClientMessage::Request(request) = message else { continue };
                    let apply = Verb::new("apply", Permission::Configure, "")
                        .required("file", ArgKind::File, "")
                        .optional(FILE_NAME, ArgKind::Option, "")
                        .signed(8);
                    let add = Verb::new("add", Permission::Operate, "")
                        .required("file", ArgKind::File, "")
                        .optional(FOLDER, ArgKind::Flag, "");
                    let end = match (request.verb.as_str(), request.unit) {
                        ("describe", None) => json!([]),
                        ("describe", Some(_)) => json!([apply, add]),
                        _ => Value::Null,
                    };
                    let reply = Reply { id: request.id, body: ReplyBody::End(end) };
                    connection.reply(&reply).unwrap();
                    theirs.write_all(connection.pending()).unwrap();
                    connection.sent(usize::MAX);
                    if request.verb != "describe" {
                        return request.args;
                    }
                }
            }
        });
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        run_on_box(&mut Client::new(ours), &words, OCTETCTL, signer).unwrap();
        unit.join().unwrap()
    }

    #[test]
    fn flags_stand_before_a_unit_too() {
        let path = std::env::temp_dir().join(format!("octet-before-{}", std::process::id()));
        std::fs::write(&path, b"12345").unwrap();
        for line in ["--json config apply", "config --json apply"] {
            let args = ask_box(&format!("{line} {}", path.display()), None);
            assert_eq!(args["file"], json!({ "size": 5 }), "{line}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_folder_is_sent_as_an_archive_to_a_verb_that_takes_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("film.m3u8");
        std::fs::write(&path, [7; 600]).unwrap();
        let args = ask_box(&format!("config add {}", folder.path().display()), None);
        // A header, two blocks of content, and two at the end.
        assert_eq!(Value::Object(args), json!({ "file": { "size": 5 * 512 }, "folder": true }));
        let args = ask_box(&format!("config add {}", path.display()), None);
        assert_eq!(Value::Object(args), json!({ "file": { "size": 600 } }));
        // Other verbs take files only.
        let apply =
            Verb::new("apply", Permission::Configure, "").required("file", ArgKind::File, "");
        let words = ["octetctl", "apply", folder.path().to_str().unwrap()];
        let matches = command(OCTETCTL, std::slice::from_ref(&apply), "").get_matches_from(words);
        let refused = open_file(&apply, matches.subcommand().unwrap().1).unwrap_err();
        assert!(refused.to_string().contains("directory"), "{refused}");
    }

    #[test]
    fn options_of_the_program_are_taken_wherever_they_stand() {
        for (line, rest, taken) in [
            ("forward ping --board 1", "forward ping", "--board 1"),
            ("forward --board=1 ping --path 3", "forward ping --path 3", "--board=1"),
            ("status --box", "status --box", ""),
            ("status --box --json", "status --box --json", ""),
            ("status --box 192.0.2.1 --board 2", "status", "--box 192.0.2.1 --board 2"),
            ("messenger send -- --board 1", "messenger send -- --board 1", ""),
        ] {
            let split = |text: &str| -> Vec<String> {
                text.split_whitespace().map(str::to_owned).collect()
            };
            let mut words = split(line);
            assert_eq!(take_options(&mut words, &["--box", "--board"]), split(taken), "{line}");
            assert_eq!(words, split(rest), "{line}");
        }
    }

    #[test]
    fn help_lists_units_and_options() {
        let own = Command::new("octetctl")
            .arg(clap::Arg::new("board").long("board").value_name("N").help("A board of it"))
            .arg(clap::Arg::new("words").num_args(0..));
        let options = options_of(&own);
        let units = format_units(&json!([
            {"name": "netd", "description": "The network"},
            {"name": "cache", "description": "Ob\u{1b}jects"},
        ]));
        let program = Program { options: &options, ..OCTETCTL };
        let help = command(program, &verbs(), &units).render_help().to_string();
        for line in [
            "Units, each with verbs of its own (`octetctl UNIT --help`):",
            "  netd   The network",
            "  cache  Ob",
            "Before a unit or after its verb:",
            "      --board <N>  A board of it",
        ] {
            assert!(help.lines().any(|it| it.starts_with(line)), "{line}: {help}");
        }
        assert!(!help.contains('\u{1b}'));
        assert!(help.contains("sends a signal") && !help.contains("tells PID 1"), "{help}");
        // Verbs that help hides can still be called.
        assert_eq!(parse("place").unwrap(), json!({}));
    }

    #[test]
    fn a_call_that_is_to_be_signed_is_signed_whole() {
        let path = std::env::temp_dir().join(format!("octet-signed-{}", std::process::id()));
        std::fs::write(&path, b"12345").unwrap();
        let line = format!("config apply {}", path.display());
        let args = ask_box(&line, Some(&Scribe));
        let file = json!({ "size": 5, "sha256": "of 5" });
        assert_eq!((&args["file"], &args["sequence"]), (&file, &json!(8)));
        let signed = args["signed"].as_str().unwrap().strip_prefix("config apply ").unwrap();
        let signed: Value = serde_json::from_str(signed).unwrap();
        let called = path.to_str().unwrap();
        assert_eq!(signed, json!({ "file": file, "called": called, "sequence": 8 }));
        // A given sequence number is the one that is signed; without a key nothing is signed.
        let args = ask_box(&format!("{line} --sequence 9"), Some(&Scribe));
        assert_eq!(args["sequence"], 9);
        let args = ask_box(&line, None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Value::Object(args), json!({ "file": { "size": 5 }, "called": called }));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for bad in ["", "nope", "signal", "logs --since", "logs --lines x", "logs a 10m", "logs -s"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        command(OCTETCTL, &verbs(), "").debug_assert();
    }
}
