//! The units that serve, count and stop: `forward` for carriage, `cache` for objects. `forward` also passes messages between
//! the `accounts` of neighbours.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use data_encoding::HEXLOWER;
use octet_node::KeptClient;
use octet_node::control::{CallError, PublicKey};
use octet_receipts::ServiceKind;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The timeout of a call: `forward` waits for nft.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The traffic of a neighbour, as `forward traffic` and `cache traffic` have it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TrafficRow {
    pub node: PublicKey,
    /// Bytes of paths that it was asked for, or of objects that it gave.
    pub bought: u64,
    /// Bytes of paths that it asked for, or of objects that it was given.
    pub served: u64,
    /// How far `served` may grow.
    pub limit: Option<u64>,
    /// The measured capacity of the link, in kbit/s. `cache` measures none.
    pub kilobits: Option<u32>,
    /// The epoch in which the counts never decrease.
    pub epoch: CounterEpoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CounterEpoch(pub [u8; 16]);

#[derive(Debug, thiserror::Error)]
#[error("this is not an epoch: 32 hexadecimal digits")]
pub struct NoEpoch;

impl TryFrom<String> for CounterEpoch {
    type Error = NoEpoch;

    fn try_from(text: String) -> Result<Self, NoEpoch> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| NoEpoch)?;
        bytes.try_into().map(Self).map_err(|_| NoEpoch)
    }
}

/// The unit that counts what is served of a kind.
fn unit(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Carriage => "forward",
        ServiceKind::Objects => "cache",
    }
}

#[derive(Debug, Deserialize)]
struct MessageRow {
    node: PublicKey,
    message: String,
}

/// A unit that counts what is served of one kind.
#[derive(Debug)]
pub struct TrafficMeter {
    pub kind: ServiceKind,
    client: KeptClient,
}

impl TrafficMeter {
    /// Nothing is connected yet; the socket is in the folder `sockets`.
    pub fn new(kind: ServiceKind, sockets: &Path) -> Self {
        let socket = sockets.join(format!("{}.sock", unit(kind)));
        Self { kind, client: KeptClient::new(socket, TIMEOUT) }
    }

    pub fn unit(&self) -> &'static str {
        unit(self.kind)
    }

    /// # Errors
    /// The unit does not answer as expected; so it is with the others.
    pub fn traffic(&mut self) -> Result<Vec<TrafficRow>, CallError> {
        Ok(serde_json::from_value(self.client.call("traffic")?)?)
    }

    /// The messages since the last call, and who sent them: only `forward` has some. What is malformed is left out.
    pub fn receive(&mut self) -> Result<Vec<(PublicKey, Vec<u8>)>, CallError> {
        let rows: Vec<MessageRow> = serde_json::from_value(self.client.call("account-receive")?)?;
        let decode =
            |row: MessageRow| Some((row.node, BASE64.decode(row.message.as_bytes()).ok()?));
        Ok(rows.into_iter().filter_map(decode).collect())
    }

    /// Only `forward` sends messages.
    pub fn send(&mut self, node: &PublicKey, message: &[u8]) -> Result<(), CallError> {
        let args = json!({ "node": node, "message": BASE64.encode(message) });
        self.call("account-send", args)
    }

    /// Sets how far `served` of a neighbour may grow; `None`: without limit.
    pub fn limit(&mut self, node: &PublicKey, served: Option<u64>) -> Result<(), CallError> {
        let args = match served {
            Some(served) => json!({ "node": node, "served": served }),
            None => json!({ "node": node }),
        };
        self.call("account-limit", args)
    }

    fn call(&mut self, verb: &str, args: Value) -> Result<(), CallError> {
        let args = match args {
            Value::Object(args) => args,
            _ => Map::new(),
        };
        self.client.call_with(verb, args).map(drop)
    }
}
