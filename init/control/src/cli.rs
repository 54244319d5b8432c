//! A command line made from the verbs that a unit describes: nothing here knows any verb.

use std::io::{self, Read, Write};

use clap::{ArgAction, Command};
use serde_json::{Map, Value};

use crate::client::{CallError, Client};
use crate::render::render;
use crate::verb::{Arg, ArgKind, Verb};

/// Why a command did not work.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line does not fit the verbs, or asks for help; `clap` knows what to print.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The unit did not answer, or refused.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The answer could not be printed.
    #[error("cannot print the answer: {0}")]
    Print(#[from] io::Error),
}

impl CliError {
    /// What to do about it, where the unit said so.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Call(CallError::Failure(failure)) => Some(&failure.help),
            _ => None,
        }
    }
}

/// Runs the verb that `args` names (without the program's own name), and prints its answer: as
/// text for people, or with `--json` as one JSON value per line.
///
/// # Errors
/// The arguments do not fit the verbs, or the unit did not answer.
pub fn run<S: Read + Write>(
    client: &mut Client<S>,
    args: &[String],
    program: &str,
) -> Result<(), CliError> {
    let verbs = client.describe()?;
    let matches = command(program, &verbs)
        .try_get_matches_from(std::iter::once(program).chain(args.iter().map(String::as_str)))?;
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
    let end = client.call_each(name, arguments(verb, matches), |item| {
        failed = print(item).err();
        failed.is_none()
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None if end.is_null() => Ok(()),
        None => Ok(print(&end)?),
    }
}

/// The command line for `verbs`.
fn command(program: &str, verbs: &[Verb]) -> Command {
    Command::new(program.to_owned())
        .about("Asks the appliance")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            clap::Arg::new("json")
                .long("json")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Print JSON, one value per line"),
        )
        .subcommands(verbs.iter().map(|verb| {
            Command::new(verb.name.clone())
                .about(verb.help.clone())
                .args(verb.args.iter().map(argument))
        }))
}

fn argument(arg: &Arg) -> clap::Arg {
    let shown = clap::Arg::new(arg.name.clone()).help(arg.help.clone()).required(arg.required);
    match arg.kind {
        ArgKind::Text => shown.value_name(arg.name.to_uppercase()),
        ArgKind::Integer => {
            shown.long(arg.name.clone()).value_name("N").value_parser(clap::value_parser!(u64))
        }
        ArgKind::Flag => shown.long(arg.name.clone()).action(ArgAction::SetTrue),
    }
}

/// What was given on the command line, as the protocol carries it.
fn arguments(verb: &Verb, matches: &clap::ArgMatches) -> Map<String, Value> {
    verb.args
        .iter()
        .filter_map(|arg| {
            let value = match arg.kind {
                ArgKind::Text => matches.get_one::<String>(&arg.name).cloned().map(Value::from),
                ArgKind::Integer => matches.get_one::<u64>(&arg.name).copied().map(Value::from),
                ArgKind::Flag => matches.get_flag(&arg.name).then_some(Value::Bool(true)),
            };
            value.map(|value| (arg.name.clone(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::Capability;

    fn verbs() -> Vec<Verb> {
        vec![
            Verb::new("status", Capability::Read, "shows all"),
            Verb::new("logs", Capability::Read, "shows output")
                .required("unit", ArgKind::Text, "which")
                .optional("lines", ArgKind::Integer, "how many")
                .optional("follow", ArgKind::Flag, "go on"),
        ]
    }

    #[test]
    fn arguments_become_json() {
        let verbs = verbs();
        let matches = command("octetctl", &verbs)
            .try_get_matches_from(["octetctl", "logs", "console", "--lines", "3", "--follow"])
            .unwrap();
        let (_, matches) = matches.subcommand().unwrap();
        let got = Value::Object(arguments(&verbs[1], matches));
        assert_eq!(got, serde_json::json!({"unit": "console", "lines": 3, "follow": true}));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for bad in [vec!["octetctl"], vec!["octetctl", "nope"], vec!["octetctl", "logs"]] {
            assert!(command("octetctl", &verbs()).try_get_matches_from(bad).is_err());
        }
        command("octetctl", &verbs()).debug_assert();
    }
}
