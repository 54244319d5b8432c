//! Shell completion of a command line. As in [`cli`](crate::cli), nothing here knows any verb.

use std::io::{Read, Write};

use octet_appliance::UnitName;
use serde_json::{Map, Value};

use crate::UNITS;
use crate::client::{CallError, Client};
use crate::verb::{ArgKind, Verb};

/// Completions of the last of `words`, on a connection to PID 1 that reaches every unit: verbs and
/// units, then the verbs of the unit, then the options of the verb, if that word begins with a
/// hyphen.
///
/// # Errors
/// PID 1 does not answer, or there is no such unit.
pub fn complete<S: Read + Write>(
    client: &mut Client<S>,
    words: &[String],
) -> Result<Vec<String>, CallError> {
    let Some((begun, before)) = words.split_last() else { return Ok(vec![]) };
    let mut named = before.iter().filter(|word| !word.starts_with('-'));
    let mut verbs = client.describe()?;
    let mut offered = vec![];
    let mut verb = named.next();
    match verb.filter(|first| !verbs.iter().any(|verb| verb.name == **first)) {
        Some(first) => {
            let Ok(unit) = UnitName::try_from(first.clone()) else { return Ok(vec![]) };
            client.set_unit(Some(unit));
            verbs = client.describe()?;
            verb = named.next();
        }
        None if verb.is_none() && verbs.iter().any(|verb| verb.name == UNITS) => {
            let units = client.call(UNITS, Map::new())?;
            let name = |unit: &Value| Some(unit["name"].as_str()?.to_owned());
            offered.extend(units.as_array().into_iter().flatten().filter_map(name));
        }
        None => {}
    }
    match verb {
        None => {
            let for_people = verbs.into_iter().filter(|verb| !verb.internal);
            offered.extend(for_people.map(|verb| verb.name));
        }
        // Anything else here is not an option: the shell completes files.
        Some(name) if begun.starts_with('-') => {
            let verb = verbs.iter().find(|verb| verb.name == *name);
            offered.extend(verb.map(options).unwrap_or_default());
        }
        Some(_) => {}
    }
    // A unit's text must not contain characters that are special to the shell.
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    offered.retain(|word| word.starts_with(begun.as_str()) && word.chars().all(is_word));
    offered.sort();
    offered.dedup();
    Ok(offered)
}

/// The options of `verb`, as they stand on a command line.
fn options(verb: &Verb) -> Vec<String> {
    let named = [ArgKind::Option, ArgKind::Integer, ArgKind::Flag];
    let args = verb.args.iter().filter(|arg| named.contains(&arg.kind));
    args.map(|arg| format!("--{}", arg.name)).chain(["--json".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::message::{ClientMessage, Failure, FailureCode, Reply, ReplyBody};
    use octet_appliance::operator::Permission::Read as May;
    use serde_json::json;
    use std::os::unix::net::UnixStream;

    /// A box with the unit `forward`, whose verb `drop` has an option and a positional argument.
    fn answers(mut theirs: UnixStream) {
        let own = ["status", UNITS, "lo\u{1b}gs"].map(|name| Verb::new(name, May, ""));
        let own = own.into_iter().chain([Verb::new("stay", May, "").internal()]);
        let own: Vec<_> = own.collect();
        let drop = Verb::new("drop", May, "").required("to", ArgKind::Text, "");
        let drop = drop.optional("path", ArgKind::Integer, "");
        let (mut connection, mut buffer) = (Connection::default(), [0; 1000]);
        while let Ok(count @ 1..) = theirs.read(&mut buffer) {
            for message in connection.received(&buffer[..count], true) {
                let ClientMessage::Request(request) = message else { continue };
                let unit = request.unit.as_ref().map(UnitName::as_str);
                let body = match (request.verb.as_str(), unit) {
                    ("describe", None) => ReplyBody::End(json!(own)),
                    ("describe", Some("forward")) => ReplyBody::End(json!([drop])),
                    (UNITS, None) => ReplyBody::End(json!([{ "name": "forward" }])),
                    _ => ReplyBody::Error(Failure::new(FailureCode::NotFound, "nobody", "")),
                };
                connection.reply(&Reply { id: request.id, body }).unwrap();
                theirs.write_all(connection.pending()).unwrap();
                connection.sent(usize::MAX);
            }
        }
    }

    #[test]
    fn units_then_verbs_then_options() {
        for (line, offered) in [
            ("", Some("forward status units")),
            ("f", Some("forward")),
            ("--json s", Some("status")),
            ("stay --", Some("--json")),
            ("forward ", Some("drop")),
            ("forward x", Some("")),
            ("forward drop -", Some("--json --path")),
            ("forward drop ", Some("")),
            ("forward drop 5 --p", Some("--path")),
            ("status --", Some("--json")),
            ("nobody ", None),
        ] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let box_ = std::thread::spawn(move || answers(theirs));
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let found = complete(&mut Client::new(ours), &words).ok();
            assert_eq!(found.map(|words| words.join(" ")).as_deref(), offered, "{line}");
            box_.join().unwrap();
        }
    }
}
