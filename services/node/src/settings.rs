//! A service's section of `appliance.toml`, read at the start and when `config` requests it
//! ([`settings`](octet_control::settings) describes the protocol).

pub mod cluster;

use std::io;
use std::path::Path;
use std::time::Duration;

use octet_control::settings::{APPLY, CHECK, SECTION};
use octet_control::{
    CONFIG, CallError, Client, Failure, FailureCode, Permission, SETTINGS, SOCKETS, Verb,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The timeout of `config`: it answers from memory, but may have to wait for a CPU.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a section cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The image's file is missing.
    #[error("{SETTINGS} cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// `config` does not return the section.
    #[error("`{CONFIG}` does not give section `{section}`: {source}")]
    NotGiven { section: String, source: CallError },
    /// The section has unexpected content.
    #[error("section `{section}`: {source}")]
    Wrong { section: String, source: serde_json::Error },
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let help = "`config show` tells what is in force, and what is wrong with it";
        Self::new(FailureCode::Failed, error.to_string(), help)
    }
}

/// The section `name` of the active settings; a missing section is empty.
///
/// # Errors
/// `config` does not answer, or the service may not read it. An image without `config` is damaged.
pub fn section<T: DeserializeOwned>(name: &str) -> Result<T, SettingsError> {
    section_in(Path::new(SOCKETS), name, Which::InForce)
}

/// The section `name` of the pending settings, for a service that must accept or refuse them ([`verbs`]).
pub fn next_section<T: DeserializeOwned>(name: &str) -> Result<T, SettingsError> {
    section_in(Path::new(SOCKETS), name, Which::Next)
}

/// The settings that a section is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The active settings.
    InForce,
    /// The pending settings.
    Next,
}

/// Like [`section`] or [`next_section`], from the socket of `config` in the folder `sockets`.
pub fn section_in<T: DeserializeOwned>(
    sockets: &Path,
    name: &str,
    which: Which,
) -> Result<T, SettingsError> {
    let socket = sockets.join(format!("{CONFIG}.sock"));
    read(&socket, Path::new(SETTINGS), name, which == Which::Next)
}

/// The verbs of a service with settings, for its `describe`. The first is answered after [`next_section`],
/// where an error refuses the pending settings; the second after [`section`], where an error means that the
/// service cannot use the active settings.
pub fn verbs() -> [Verb; 2] {
    [
        Verb::new(CHECK, Permission::Configure, "Checks the candidate settings").internal(),
        Verb::new(APPLY, Permission::Configure, "Loads the active settings").internal(),
    ]
}

fn read<T: DeserializeOwned>(
    socket: &Path,
    image: &Path,
    name: &str,
    next: bool,
) -> Result<T, SettingsError> {
    let value = match ask(socket, name, next) {
        // An image without the unit `config` has a fixed configuration.
        Err(CallError::Connect { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let wrong = |source| SettingsError::Wrong { section: name.to_owned(), source };
            let mut all: Map<_, _> =
                serde_json::from_slice(&std::fs::read(image)?).map_err(wrong)?;
            all.remove(name).unwrap_or_else(|| json!({}))
        }
        Err(source) => return Err(SettingsError::NotGiven { section: name.to_owned(), source }),
        Ok(value) => value,
    };
    serde_json::from_value(value)
        .map_err(|source| SettingsError::Wrong { section: name.to_owned(), source })
}

fn ask(socket: &Path, name: &str, next: bool) -> Result<Value, CallError> {
    let mut client = Client::connect(socket)?;
    client.stream().set_read_timeout(Some(TIMEOUT))?;
    let mut args = Map::from_iter([("section".to_owned(), Value::from(name))]);
    if next {
        args.insert("next".to_owned(), true.into());
    }
    client.call(SECTION, args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_control::{ClientMessage, Decoder, Reply, ReplyBody, encode};
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    /// A `config` that answers one request.
    fn answer(listener: &UnixListener, body: ReplyBody) -> Map<String, Value> {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut decoder, mut buffer) = (Decoder::default(), [0; 1000]);
        let payload = loop {
            let count = stream.read(&mut buffer).unwrap();
            decoder.push(&buffer[..count]);
            if let Some(payload) = decoder.next_payload().unwrap() {
                break payload;
            }
        };
        let ClientMessage::Request(request) = serde_json::from_slice(&payload).unwrap() else {
            panic!("it is a request")
        };
        let mut frame = vec![];
        let reply = Reply { id: request.id, body };
        encode(&serde_json::to_vec(&reply).unwrap(), &mut frame).unwrap();
        stream.write_all(&frame).unwrap();
        request.args
    }

    #[test]
    fn config_is_asked_and_only_without_one_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, image) = (folder.path().join("config.sock"), folder.path().join("image"));
        std::fs::write(&image, r#"{"a":{"n":1}}"#).unwrap();
        let section = |name, next| read::<Map<String, Value>>(&socket, &image, name, next);
        assert_eq!(section("a", false).unwrap()["n"], 1);
        assert!(section("b", false).unwrap().is_empty());
        assert!(read::<u8>(&socket, &image, "a", false).is_err());

        let listener = UnixListener::bind(&socket).unwrap();
        let failure = Failure::new(FailureCode::Denied, "no", "");
        let config = std::thread::spawn(move || {
            let first = answer(&listener, ReplyBody::End(json!({ "n": 2 })));
            let second = answer(&listener, ReplyBody::End(json!({ "n": 3 })));
            answer(&listener, ReplyBody::Error(failure));
            (first, second)
        });
        assert_eq!(section("a", false).unwrap()["n"], 2);
        assert_eq!(section("a", true).unwrap()["n"], 3);
        assert!(section("a", false).unwrap_err().to_string().contains("no"));
        let (first, second) = config.join().unwrap();
        assert_eq!(json!(first), json!({ "section": "a" }));
        assert_eq!(json!(second), json!({ "section": "a", "next": true }));
        // A `config` that existed and is gone is an error; nothing is guessed.
        assert!(section("a", false).is_err());
    }
}
