//! What frames carry: requests and replies, as JSON.

use octet_appliance::UnitName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A client's request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Chosen by the client; every reply carries it back.
    pub id: u64,
    /// The unit that is meant, where one connection reaches several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// One of the verbs that `describe` lists.
    pub verb: String,
    /// Its arguments by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
}

/// One reply. A request is answered by any number of items and then one end or error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The request's.
    pub id: u64,
    /// What it says.
    #[serde(flatten)]
    pub body: ReplyBody,
}

/// What a reply says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplyBody {
    /// One item of several; more follows.
    Item(Value),
    /// The whole answer, or its end.
    End(Value),
    /// The request failed.
    Error(Failure),
}

/// Why a request failed, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: FailureCode,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// The bytes were no frame or no request.
    BadRequest,
    /// There is no such verb, unit or thing.
    NotFound,
    /// The arguments do not fit the verb.
    BadArgument,
    /// The caller lacks the capability.
    Denied,
    /// The server has no room for this now.
    Busy,
    /// It was tried and did not work.
    Failed,
}

impl Failure {
    /// A failure in words.
    pub fn new(code: FailureCode, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into() }
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
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = serde_json::from_str::<Request>(&text);
            let _ = serde_json::from_str::<Reply>(&text);
        }
    }
}
