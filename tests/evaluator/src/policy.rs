//! `[[policy]]`.

use toml::{Table, Value};

use crate::by::By;
use crate::line::{Line, What, Word};
use crate::section::Section;
use crate::traffic::no_bare_protocol;
use crate::units::{self, Port};
use crate::zone::Zone;

/// The protocol number of `mpls-in-ip`.
const MPLS_IN_IP: u8 = 137;

const KEYS: [&str; 7] = ["from", "to", "service", "protocol", "ports", "rate", "comment"];

/// All policies, in the order of the file.
pub(crate) fn read(file: &Table, ports: &[Port]) -> Result<Vec<Line>, String> {
    let sections = Section::all(file, "policy", &KEYS)?;
    let line = |(section, number): (&Section<'_>, usize)| {
        Ok(Line {
            by: By::Policy(number),
            from: words(section, "from")?,
            to: words(section, "to")?,
            what: between(section, what(section, ports)?)?,
            rate: section.number("rate")?,
        })
    };
    sections.iter().zip(1..).map(line).collect()
}

fn words(section: &Section<'_>, key: &str) -> Result<Vec<Word>, String> {
    let words = section.texts(key)?;
    if words.is_empty() {
        return Err(section.wrong(format_args!("`{key}` is missing")));
    }
    words.into_iter().map(|word| word.parse().map_err(|error| section.wrong(error))).collect()
}

/// Plain links are allowed between boards only.
fn between(section: &Section<'_>, what: Vec<What>) -> Result<Vec<What>, String> {
    let words = [words(section, "from")?, words(section, "to")?].concat();
    let other = words
        .iter()
        .find(|word| !matches!(word, Word::Boards | Word::Role(_) | Word::One(Zone::Board(_))));
    match other {
        Some(other) if what == [What::Protocol(MPLS_IN_IP)] => {
            Err(section.wrong(format_args!("a plain link with {other}, which is no board")))
        }
        _ => Ok(what),
    }
}

fn what(section: &Section<'_>, ports: &[Port]) -> Result<Vec<What>, String> {
    match (section.text("service")?, section.value("protocol"), section.value("ports")) {
        (Some(service), None, None) => {
            let traffic = units::service(ports, service).map_err(|error| section.wrong(error))?;
            Ok(vec![traffic.into()])
        }
        (None, Some(Value::String(name)), Some(Value::Array(list))) if name == "tcp" => {
            list.iter().map(|port| range(section, port).map(|(a, b)| What::Tcp(a, b))).collect()
        }
        (None, Some(Value::String(name)), Some(Value::Array(list))) if name == "udp" => {
            list.iter().map(|port| range(section, port).map(|(a, b)| What::Udp(a, b))).collect()
        }
        (None, Some(Value::String(name)), None) if name == "icmp" => Ok(vec![What::Ping]),
        (None, Some(Value::String(name)), None) if name == "mpls-in-ip" => {
            Ok(vec![What::Protocol(MPLS_IN_IP)])
        }
        (None, Some(Value::Integer(number)), None) => match u8::try_from(*number) {
            Ok(number) if number != MPLS_IN_IP && !no_bare_protocol(number) => {
                Ok(vec![What::Protocol(number)])
            }
            _ => Err(section.wrong(format_args!("protocol {number} cannot be named by number"))),
        },
        _ => Err(section.wrong("neither a service, nor a protocol with what belongs to it")),
    }
}

/// Parses `80` or `"8000-8010"`.
fn range(section: &Section<'_>, value: &Value) -> Result<(u16, u16), String> {
    let wrong = || section.wrong(format_args!("{value} is neither a port nor a range"));
    if let Some(port) = value.as_integer() {
        let port = u16::try_from(port).map_err(|_| wrong())?;
        return Ok((port, port));
    }
    let (first, last) = value.as_str().and_then(|text| text.split_once('-')).ok_or_else(wrong)?;
    let (first, last) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first <= last { Ok((first, last)) } else { Err(wrong()) }
}
