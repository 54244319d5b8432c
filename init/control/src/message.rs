//! The payload of frames: requests and replies, as JSON.

use octet_appliance::{FileError, PublicKey, UnitName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::file::{ChunkBytes, Want};

/// A client's message: a request, or a piece of the file that is an argument of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw", untagged)]
pub enum ClientMessage {
    Request(Request),
    Piece(FilePiece),
}

/// A piece of the file that is an argument of an earlier request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilePiece {
    pub id: u64,
    #[serde(flatten)]
    pub body: PieceBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PieceBody {
    /// Requested bytes; empty at the end of the file.
    Chunk(ChunkBytes),
    /// The client cannot continue, for this reason: no further pieces come.
    Broken(String),
}

/// All keys that a client's message may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    id: u64,
    #[serde(default)]
    unit: Option<UnitName>,
    #[serde(default)]
    verb: Option<String>,
    #[serde(default)]
    args: Map<String, Value>,
    #[serde(default)]
    by: Option<By>,
    #[serde(default)]
    chunk: Option<ChunkBytes>,
    #[serde(default)]
    broken: Option<String>,
}

impl TryFrom<Raw> for ClientMessage {
    type Error = &'static str;

    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        let body = match (raw.verb, raw.chunk, raw.broken) {
            (Some(verb), None, None) => {
                let Raw { id, unit, args, by, .. } = raw;
                return Ok(Self::Request(Request { id, unit, verb, args, by }));
            }
            (None, Some(chunk), None) => PieceBody::Chunk(chunk),
            (None, None, Some(why)) => PieceBody::Broken(why),
            _ => return Err("a message has one of `verb`, `chunk` and `broken`"),
        };
        if raw.unit.is_some() || raw.by.is_some() || !raw.args.is_empty() {
            return Err("a piece of a file has neither `unit` nor `args`: its request said them");
        }
        Ok(Self::Piece(FilePiece { id: raw.id, body }))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Chosen by the client; every reply repeats it.
    pub id: u64,
    /// The called unit, where one connection reaches several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// One of the verbs that `describe` lists.
    pub verb: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    /// The operator on whose behalf the call is made. A unit that authenticates operators sets it
    /// for PID 1, and PID 1 for the units; from others it is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
}

/// The caller on whose behalf another one calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A process of root on the box.
    Root,
    /// The user of the control port, which only a machine under QEMU has.
    Port,
    /// The owner of this key.
    Operator(PublicKey),
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Port => f.write_str("the control port"),
            Self::Operator(key) => key.fmt(f),
        }
    }
}

/// A reply. A request is answered by any number of items, followed by one end or error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    pub id: u64,
    #[serde(flatten)]
    pub body: ReplyBody,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplyBody {
    /// One item of several; more replies follow.
    Item(Value),
    /// The unit requests this part of the file that is an argument; more replies follow.
    Want(Want),
    /// The whole answer, or its end.
    End(Value),
    Error(Failure),
}

impl ReplyBody {
    pub fn is_last(&self) -> bool {
        match self {
            Self::Item(_) | Self::Want(_) => false,
            Self::End(_) | Self::Error(_) => true,
        }
    }
}

/// Why a request failed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub code: FailureCode,
    pub message: String,
    /// What to do about it.
    pub help: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// The bytes were not a valid frame or request.
    BadRequest,
    /// There is no such verb, unit or object.
    NotFound,
    /// The arguments do not match the verb.
    BadArgument,
    /// The caller lacks the capability.
    Denied,
    /// The server is at its limit.
    Busy,
    /// The verb was executed and failed.
    Failed,
}

impl Failure {
    pub fn new(code: FailureCode, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into() }
    }
}

/// A mistake in the settings; its place in a file is not known.
impl From<Box<FileError>> for Failure {
    fn from(mistake: Box<FileError>) -> Self {
        Self::new(FailureCode::BadArgument, mistake.message, mistake.hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn looks_as_documented() {
        let reply = Reply { id: 7, body: ReplyBody::End(Value::Bool(true)) };
        assert_eq!(serde_json::to_string(&reply).unwrap(), r#"{"id":7,"end":true}"#);
        let request: Request = serde_json::from_str(r#"{"id":1,"verb":"status"}"#).unwrap();
        assert!(request.args.is_empty());
        let want = Reply { id: 7, body: ReplyBody::Want(Want { at: 0, length: 9 }) };
        let json = r#"{"id":7,"want":{"at":0,"length":9}}"#;
        assert_eq!(serde_json::to_string(&want).unwrap(), json);
        assert_eq!(serde_json::from_str::<Reply>(json).unwrap(), want);
        for json in [
            r#"{"id":1,"verb":"status"}"#,
            r#"{"id":1,"verb":"status","by":"port"}"#,
            r#"{"id":1,"verb":"status","by":{"operator":"did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"}}"#,
            r#"{"id":1,"chunk":{"at":7,"bytes":"YWJj"}}"#,
            r#"{"id":1,"broken":"the disk"}"#,
        ] {
            let message: ClientMessage = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&message).unwrap(), json);
        }
    }

    #[test]
    fn a_message_is_one_thing() {
        for bad in [
            r#"{"id":1}"#,
            r#"{"id":1,"verb":"x","chunk":{"at":0,"bytes":""}}"#,
            r#"{"id":1,"chunk":{"at":0,"bytes":""},"broken":""}"#,
            r#"{"id":1,"chunk":{"at":0,"bytes":""},"unit":"update"}"#,
            r#"{"id":1,"chunk":{"at":0,"bytes":""},"args":{"a":1}}"#,
            r#"{"id":1,"chunk":{"at":0,"bytes":""},"by":"root"}"#,
            r#"{"id":1,"chunk":{"at":0,"bytes":"?"}}"#,
            r#"{"id":1,"chunk":{"bytes":""}}"#,
            r#"{"id":1,"chunk":{"at":0,"bytes":"","more":1}}"#,
            r#"{"id":1,"verb":"x","by":"me"}"#,
            r#"{"verb":"x"}"#,
            r#"{"id":1,"verb":"x","more":1}"#,
        ] {
            assert!(serde_json::from_str::<ClientMessage>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = serde_json::from_str::<ClientMessage>(&text);
            let _ = serde_json::from_str::<Reply>(&text);
        }
    }
}
