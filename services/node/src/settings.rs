//! The sections of `appliance.toml` that a service reads, at the start and when `config` requests it
//! ([`settings`](octet_control::settings) describes the protocol).

mod cluster;

use std::io;
use std::path::Path;
use std::time::Duration;

use octet_control::settings::{APPLY, CHECK, SECTIONS};
use octet_control::{
    CONFIG, CallError, Client, Failure, FailureCode, Permission, SETTINGS, SOCKETS, Verb,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The timeout of `config`: it answers from memory, but may have to wait for a CPU.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The image's file is missing.
    #[error("{SETTINGS} cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// `config` does not answer with the settings.
    #[error("`{CONFIG}` does not give the settings: {0}")]
    NotGiven(CallError),
    #[error("section `{0}` is not in `config` of the unit file")]
    NotNamed(String),
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

/// The settings to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The active settings.
    InForce,
    /// The pending settings, which the service must accept or refuse ([`verbs`]).
    Next,
}

/// All sections that the service may read, of one version of the settings.
#[derive(Debug, Clone)]
pub struct Settings {
    sections: Map<String, Value>,
    /// Whether the sections are from the image's file, which has no key for a missing section.
    from_image: bool,
}

impl Settings {
    /// Reads the settings from the socket of `config` in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer. An image without `config` is damaged.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, SettingsError> {
        let socket = sockets.join(format!("{CONFIG}.sock"));
        Self::read_from(&socket, Path::new(SETTINGS), which)
    }

    fn read_from(socket: &Path, image: &Path, which: Which) -> Result<Self, SettingsError> {
        match ask(socket, which) {
            // An image without the unit `config` has a fixed configuration.
            Err(CallError::Connect { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let wrong = |source| io::Error::new(io::ErrorKind::InvalidData, source);
                let sections = serde_json::from_slice(&std::fs::read(image)?).map_err(wrong)?;
                Ok(Self { sections, from_image: true })
            }
            Err(error) => Err(SettingsError::NotGiven(error)),
            Ok(sections) => Ok(Self { sections, from_image: false }),
        }
    }

    /// The section `name`; a missing section is empty.
    ///
    /// # Errors
    /// The unit file does not name the section, or a value is invalid.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, SettingsError> {
        let value = self.value(name)?.cloned().unwrap_or_else(|| json!({}));
        read(name, value)
    }

    /// The section `name`, which the settings may lack. Of a `[[list]]` this is the whole list.
    ///
    /// # Errors
    /// As [`section`](Self::section).
    pub fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SettingsError> {
        self.value(name)?.cloned().map(|value| read(name, value)).transpose()
    }

    /// The `[[name]]` sections.
    ///
    /// # Errors
    /// As [`section`](Self::section).
    pub fn list<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, SettingsError> {
        Ok(self.optional(name)?.unwrap_or_default())
    }

    fn value(&self, name: &str) -> Result<Option<&Value>, SettingsError> {
        match self.sections.get(name) {
            None if !self.from_image => Err(SettingsError::NotNamed(name.to_owned())),
            value => Ok(value.filter(|value| !value.is_null())),
        }
    }
}

/// The section `name` of the active settings; a missing section is empty.
///
/// # Errors
/// As [`Settings::read`] and [`Settings::section`].
pub fn section<T: DeserializeOwned>(name: &str) -> Result<T, SettingsError> {
    Settings::read(Path::new(SOCKETS), Which::InForce)?.section(name)
}

/// The section `name` of the pending settings.
///
/// # Errors
/// As [`Settings::read`] and [`Settings::section`].
pub fn next_section<T: DeserializeOwned>(name: &str) -> Result<T, SettingsError> {
    Settings::read(Path::new(SOCKETS), Which::Next)?.section(name)
}

/// The verbs of a service with settings, for its `describe`. The first is answered after the pending
/// settings are read, where an error refuses them; the second after the active ones are read, where an
/// error means that the service cannot use them.
pub fn verbs() -> [Verb; 2] {
    [
        Verb::new(CHECK, Permission::Configure, "Checks the candidate settings").internal(),
        Verb::new(APPLY, Permission::Configure, "Loads the active settings").internal(),
    ]
}

fn read<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, SettingsError> {
    serde_json::from_value(value)
        .map_err(|source| SettingsError::Wrong { section: name.to_owned(), source })
}

fn ask(socket: &Path, which: Which) -> Result<Map<String, Value>, CallError> {
    let mut client = Client::connect(socket)?;
    client.stream().set_read_timeout(Some(TIMEOUT))?;
    let next = (which == Which::Next).then(|| ("next".to_owned(), true.into()));
    match client.call(SECTIONS, next.into_iter().collect())? {
        Value::Object(sections) => Ok(sections),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
    }
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
        std::fs::write(&image, r#"{"a":{"n":1},"c":null}"#).unwrap();
        let read = |which| Settings::read_from(&socket, &image, which);
        let fixed = read(Which::InForce).unwrap();
        assert_eq!(fixed.section::<Value>("a").unwrap()["n"], 1);
        for missing in ["b", "c"] {
            assert_eq!(fixed.section::<Value>(missing).unwrap(), json!({}));
            assert_eq!(fixed.optional::<Value>(missing).unwrap(), None);
            assert!(fixed.list::<Value>(missing).unwrap().is_empty());
        }
        assert!(fixed.section::<u8>("a").is_err() && fixed.optional::<u8>("a").is_err());

        let listener = UnixListener::bind(&socket).unwrap();
        let failure = Failure::new(FailureCode::Denied, "no", "");
        let config = std::thread::spawn(move || {
            let some = json!({ "a": { "n": 2 }, "b": null, "list": [1, 2], "lan": {} });
            let first = answer(&listener, ReplyBody::End(some));
            let second = answer(&listener, ReplyBody::End(json!({ "a": { "n": 3 } })));
            answer(&listener, ReplyBody::Error(failure));
            answer(&listener, ReplyBody::End(json!([])));
            (first, second)
        });
        let active = read(Which::InForce).unwrap();
        assert_eq!(active.section::<Value>("a").unwrap()["n"], 2);
        assert_eq!(active.section::<Value>("b").unwrap(), json!({}));
        assert_eq!(active.optional::<Value>("b").unwrap(), None);
        assert_eq!(active.list::<u8>("list").unwrap(), [1, 2]);
        // A section may be there and have no key.
        assert_eq!(active.optional::<Value>("lan").unwrap(), Some(json!({})));
        let error = active.section::<Value>("operator").unwrap_err().to_string();
        assert_eq!(error, "section `operator` is not in `config` of the unit file");
        assert_eq!(read(Which::Next).unwrap().section::<Value>("a").unwrap()["n"], 3);
        assert!(read(Which::InForce).unwrap_err().to_string().contains("no"));
        assert!(read(Which::InForce).is_err());
        let (first, second) = config.join().unwrap();
        assert_eq!((json!(first), json!(second)), (json!({}), json!({ "next": true })));
        // A `config` that existed and is gone is an error; nothing is guessed.
        assert!(read(Which::InForce).is_err());
    }
}
