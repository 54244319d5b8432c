//! The figures of each node, from the answers of `cluster`. Pure: it has no clock, socket or disk.
//!
//! What is not known is missing, and never zero: a lost answer makes figures older, and then a node
//! is "not heard". It is "off" only if the router sees that its port has no link.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use octet_node::control::is_control_or_format;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::history::{History, Quantity, Sample};
use crate::rate::Counters;

/// The maximum number of nodes: 32 boards and a router.
pub const MAX_NODES: usize = 33;

/// The age of the last message from which on a node counts as not heard. `cluster` closes a
/// connection that is silent for 30 s; the rest is what this unit's own question may take.
pub const MAX_SILENCE: Duration = Duration::from_secs(40);

/// The role of a node that hears all others.
const COORDINATOR: &str = "coordinator";

/// The maximum length of a text of another node, in characters.
const LONGEST_TEXT: usize = 200;

/// All figures that are known.
#[derive(Debug, Default)]
pub struct Figures {
    /// The last answer of `cluster`, and when it came.
    heard: Option<(BoxStatus, Duration)>,
    /// Why the last question had no answer.
    trouble: Option<String>,
    nodes: BTreeMap<NodeNumber, NodeFigures>,
    /// What a ledger has paid to this node in the last hour, in millionths of a coin.
    coins_last_hour: Option<u64>,
}

/// The number of a node; a box that is one board may have none.
pub type NodeNumber = Option<u8>;

/// What is kept of a node.
#[derive(Debug, Default)]
struct NodeFigures {
    counters: Counters,
    history: History,
}

/// The answer of `cluster` to `status`.
#[derive(Debug, Clone, Default, Deserialize)]
struct BoxStatus {
    role: String,
    number: NodeNumber,
    trouble: Option<String>,
    #[serde(default)]
    nodes: Vec<NodeRow>,
}

/// One of its rows; what is not known is missing.
#[derive(Debug, Clone, Default, Deserialize)]
struct NodeRow {
    number: NodeNumber,
    state: Option<String>,
    connected: Option<bool>,
    last_seen: Option<String>,
    heard_seconds: Option<u64>,
    link: Option<LinkState>,
    #[serde(rename = "box")]
    box_state: Option<String>,
    uptime: Option<u64>,
    ready: Option<u64>,
    failed: Option<Vec<String>>,
    memory: Option<u64>,
    total: Option<u64>,
    cpu_percent: Option<u64>,
    temperature_celsius: Option<i64>,
    received: Option<u64>,
    sent: Option<u64>,
    refused: Option<String>,
}

/// How a node is. Its text is for people (docs/face.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// What its PID 1 says.
    Reported(String),
    /// It is connected, and has not said how it is.
    Connected,
    /// For these seconds, if it was ever heard.
    NotHeard(Option<u64>),
    /// Its port has no link.
    Off,
    Empty,
    Waiting,
    Refused,
    Revoked,
    /// This node hears nothing of that one.
    Unknown,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported(state) => f.write_str(state),
            Self::Connected => f.write_str("connected"),
            Self::NotHeard(Some(seconds)) => write!(f, "not heard for {seconds} s"),
            Self::NotHeard(None) => f.write_str("not heard"),
            Self::Off => f.write_str("off"),
            Self::Empty => f.write_str("empty"),
            Self::Waiting => f.write_str("waiting for approval"),
            Self::Refused => f.write_str("refused"),
            Self::Revoked => f.write_str("revoked"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// What a display shows of this node itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnFigures {
    pub cpu_percent: Option<u8>,
    pub memory_percent: Option<u8>,
    pub received_per_second: Option<u64>,
    pub sent_per_second: Option<u64>,
    /// Received and sent bytes per second, a value for each minute, the newest last.
    pub traffic: Vec<Option<u64>>,
    /// Names of failed units.
    pub failed: Vec<String>,
}

/// Whether a port of the router has a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum LinkState {
    Up,
    Down,
}

impl Figures {
    /// Takes the answer of `cluster` at `now`.
    ///
    /// # Errors
    /// It is none; then it counts as a lost one.
    pub fn hear(&mut self, answer: &Value, now: Duration) -> Result<(), String> {
        let mut status = match BoxStatus::deserialize(answer) {
            Ok(status) => status,
            Err(error) => {
                let problem = format!("`cluster` has answered with something else: {error}");
                self.lose(problem.clone());
                return Err(problem);
            }
        };
        status.nodes.truncate(MAX_NODES);
        status.nodes.iter_mut().for_each(NodeRow::shorten);
        let numbers: Vec<NodeNumber> = status.nodes.iter().map(|row| row.number).collect();
        self.nodes.retain(|number, _| numbers.contains(number));
        for row in &status.nodes {
            let node = self.nodes.entry(row.number).or_default();
            if row.is_heard(Duration::ZERO) {
                node.counters.count(row.received, row.sent, now);
                node.history.record(&node.sample(row, now), now);
            }
        }
        self.heard = Some((status, now));
        self.trouble = None;
        Ok(())
    }

    /// Records that `cluster` did not answer, and why.
    pub fn lose(&mut self, problem: String) {
        self.trouble = Some(problem);
    }

    /// Takes what `accounts` has answered to `earnings`; `None` if it has not. A node that is not paid on a ledger
    /// has noted nothing.
    pub fn earn(&mut self, answer: Option<&Value>) {
        let answer = answer.filter(|it| it["noted_seconds"].as_u64() > Some(0));
        self.coins_last_hour = answer.and_then(|it| it["last_hour"].as_u64());
    }

    /// All figures at `now`, as `show` and `watch` return them.
    pub fn to_json(&self, now: Duration) -> Value {
        let Some((status, heard_at)) = &self.heard else {
            let trouble = self.trouble.as_deref().unwrap_or("`cluster` has not answered yet");
            return json!({ "trouble": trouble, "nodes": [] });
        };
        let age = now.saturating_sub(*heard_at);
        let nodes = status.nodes.iter().map(|row| self.row(row, age, now));
        let mut shown = json!({ "role": status.role, "number": status.number });
        if let Some(trouble) = self.trouble.as_ref().or(status.trouble.as_ref()) {
            shown["trouble"] = trouble.as_str().into();
        }
        if let Some(coins) = self.coins_last_hour {
            shown["coins_last_hour"] = coins.into();
        }
        shown["nodes"] = nodes.collect();
        shown
    }

    /// The history of `quantity` at `now`, an item for each node.
    pub fn history(&self, quantity: Quantity, now: Duration) -> Vec<Value> {
        let item = |(number, node): (&NodeNumber, &NodeFigures)| {
            json!({
                "number": number,
                "quantity": quantity,
                "seconds_each": crate::history::STEP.as_secs(),
                "values": node.history.values(quantity, now),
            })
        };
        self.nodes.iter().map(item).collect()
    }

    /// The figures of this node itself at `now`.
    pub fn own(&self, now: Duration) -> OwnFigures {
        let Some((status, heard_at)) = &self.heard else { return OwnFigures::default() };
        let row = status.nodes.iter().find(|row| row.number == status.number);
        let row = row.filter(|row| row.is_heard(now.saturating_sub(*heard_at)));
        let Some((row, node)) = row.zip(self.nodes.get(&status.number)) else {
            return OwnFigures::default();
        };
        let sample = node.sample(row, now);
        let percent = |value: Option<i32>| value.map(|value| value.clamp(0, 100) as u8);
        let (received_per_second, sent_per_second) = node.counters.rates(now);
        let [received, sent] = [Quantity::ReceivedPerSecond, Quantity::SentPerSecond]
            .map(|quantity| node.history.values(quantity, now));
        let sum = |(received, sent): (Option<i32>, Option<i32>)| {
            let (received, sent) = received.zip(sent)?;
            u64::try_from(i64::from(received) + i64::from(sent)).ok()
        };
        OwnFigures {
            cpu_percent: percent(sample.cpu_percent),
            memory_percent: percent(sample.memory_percent),
            received_per_second,
            sent_per_second,
            traffic: received.into_iter().zip(sent).map(sum).collect(),
            failed: row.failed.clone().unwrap_or_default(),
        }
    }

    /// How each node of the box is at `now`; none on a node that hears of no other one.
    pub fn conditions(&self, now: Duration) -> Vec<(u8, Condition)> {
        let Some((status, heard_at)) = &self.heard else { return vec![] };
        if status.role != COORDINATOR {
            return vec![];
        }
        let age = now.saturating_sub(*heard_at);
        let rows = status.nodes.iter();
        rows.filter_map(|row| Some((row.number?, row.condition(age)))).collect()
    }

    fn row(&self, row: &NodeRow, age: Duration, now: Duration) -> Value {
        let is_recent = age <= MAX_SILENCE;
        let heard = row.heard_seconds.map(|seconds| seconds.saturating_add(age.as_secs()));
        // Old figures would be taken for present ones.
        let unknown = NodeRow::default();
        let figures = if row.is_heard(age) { row } else { &unknown };
        let counters = self.nodes.get(&row.number).filter(|_| row.is_heard(age));
        let (received, sent) = counters.map(|node| node.counters.rates(now)).unwrap_or_default();
        // The order is that of the columns.
        json!({
            "number": row.number,
            "condition": row.condition(age).to_string(),
            "heard_seconds": heard,
            "cpu_percent": figures.cpu_percent,
            "temperature_celsius": figures.temperature_celsius,
            "memory": figures.memory,
            "total": figures.total,
            "received_per_second": received,
            "sent_per_second": sent,
            "received": figures.received,
            "sent": figures.sent,
            "uptime": figures.uptime,
            "ready": figures.ready,
            "failed": figures.failed,
            "state": row.state,
            "box": figures.box_state,
            "connected": row.connected.filter(|_| is_recent),
            "link": row.link.filter(|_| is_recent),
            "last_seen": row.last_seen,
            "refused": row.refused,
        })
    }
}

impl NodeFigures {
    /// The present values of the node in `row`.
    fn sample(&self, row: &NodeRow, now: Duration) -> Sample {
        let (received, sent) = self.counters.rates(now);
        let whole = |value: u64| i32::try_from(value).unwrap_or(i32::MAX);
        let used = row.memory.zip(row.total).filter(|(_, total)| *total > 0);
        let used = used.map(|(available, total)| {
            let used = u128::from(total.saturating_sub(available)) * 100 / u128::from(total);
            i32::try_from(used).unwrap_or(100)
        });
        Sample {
            cpu_percent: row.cpu_percent.map(whole),
            memory_percent: used,
            temperature_celsius: row.temperature_celsius.map(|it| it.clamp(-273, 1000) as i32),
            received_per_second: received.map(whole),
            sent_per_second: sent.map(whole),
        }
    }
}

impl NodeRow {
    /// Whether its figures are those of now, if the answer is `age` old.
    fn is_heard(&self, age: Duration) -> bool {
        let last = match self.heard_seconds {
            Some(seconds) => Duration::from_secs(seconds).saturating_add(age),
            // A node that tells of itself has no messages.
            None if self.box_state.is_some() && self.connected.is_none() => age,
            None => return false,
        };
        // Without a link its connection is only not closed yet.
        self.connected != Some(false) && self.link != Some(LinkState::Down) && last <= MAX_SILENCE
    }

    fn condition(&self, age: Duration) -> Condition {
        match self.state.as_deref() {
            Some("pending") => return Condition::Waiting,
            Some("refused") => return Condition::Refused,
            Some("revoked") => return Condition::Revoked,
            Some("none") => return Condition::Empty,
            _ if self.is_heard(age) => {
                return self.box_state.clone().map_or(Condition::Connected, Condition::Reported);
            }
            _ if self.link == Some(LinkState::Down) && age <= MAX_SILENCE => return Condition::Off,
            _ => {}
        }
        match self.heard_seconds {
            Some(seconds) => Condition::NotHeard(Some(seconds.saturating_add(age.as_secs()))),
            // Only the coordinator has messages of others.
            None if self.connected.is_none() => Condition::Unknown,
            None => Condition::NotHeard(None),
        }
    }

    /// Cuts texts of other nodes to a length that can be shown.
    fn shorten(&mut self) {
        let cut = |text: &mut String| {
            let shown = text.chars().filter(|it| !is_control_or_format(*it));
            *text = shown.take(LONGEST_TEXT).collect();
        };
        let texts = [&mut self.state, &mut self.last_seen, &mut self.box_state, &mut self.refused];
        texts.into_iter().flatten().for_each(cut);
        if let Some(failed) = &mut self.failed {
            failed.truncate(16);
            failed.iter_mut().for_each(cut);
        }
    }
}

#[cfg(test)]
mod tests;
