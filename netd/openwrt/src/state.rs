//! The current state of a router: its configuration, and what its daemons have made of it.

use octet_router::openwrt::router::is_ours;
use octet_router::openwrt::uci::{UciSection, Value};
use serde_json::{Value as Json, json};

use crate::ubus::{CallResult, Ubus, UbusCall, UbusError};

/// The files that are read; our sections are in all of them except the last.
pub const CONFIGS: [&str; 4] = ["network", "firewall", "dhcp", "system"];

/// The program that lists the rules in force, without counters.
pub const NFT: (&str, [&str; 5]) = ("/usr/sbin/nft", ["-s", "list", "table", "inet", "fw4"]);

/// Requests the whole of a file.
pub(crate) fn get(config: &str) -> UbusCall {
    UbusCall::uci("get", json!({ "config": config }))
}

/// The current state of a router.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterState {
    /// The model name of its manufacturer.
    pub model: String,
    pub sections: Vec<UciSection>,
    pub live: LiveState,
}

/// What `netifd` and the firewall have made of the configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LiveState {
    /// `network.interface dump`
    pub interfaces: Json,
    /// `network.device status`
    pub devices: Json,
    /// The rules in force, as nft lists them.
    pub rules: String,
}

/// How often the state is read if another change begins or ends meanwhile.
const READS: usize = 3;

/// Tests whether a change waits to be confirmed, without any effect: `revert` is refused as long as
/// one does, for every session, and otherwise rejected as invalid, since this call names no file.
/// `confirm` would not do: a login of the same user gets the session whose change waits
/// (`rpc_reclaim_apply_session` in rpcd), and so would confirm it.
pub fn probe() -> UbusCall {
    UbusCall::uci("revert", json!({}))
}

/// The result of [`probe`].
pub fn waits(answer: CallResult) -> Result<bool, UbusError> {
    match answer {
        Ok(_) | Err(UbusError::Invalid(_)) => Ok(false),
        Err(UbusError::Refused(_)) => Ok(true),
        Err(error) => Err(error),
    }
}

fn live() -> [UbusCall; 3] {
    let (command, params) = NFT;
    [
        UbusCall { object: "network.interface", method: "dump", args: json!({}) },
        UbusCall { object: "network.device", method: "status", args: json!({}) },
        UbusCall {
            object: "file",
            method: "exec",
            args: json!({ "command": command, "params": params }),
        },
    ]
}

impl LiveState {
    /// Reads the running state.
    ///
    /// # Errors
    /// The router does not report it.
    pub fn read(ubus: &mut Ubus) -> Result<Self, UbusError> {
        Self::with(ubus, &[])?.0
    }

    /// Reads the running state, and the results of `calls`.
    pub fn with(
        ubus: &mut Ubus,
        calls: &[UbusCall],
    ) -> Result<(Result<Self, UbusError>, Vec<CallResult>), UbusError> {
        let runs = live();
        let mut answers = ubus.read_each(&[&runs[..], calls].concat())?;
        let others = answers.split_off(runs.len());
        let runs: Result<_, _> = answers.into_iter().collect();
        Ok((runs.map(Self::of), others))
    }

    fn of(answers: Vec<Json>) -> Self {
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or_default();
        let (mut interfaces, devices, rules) = (next(), next(), next());
        Self {
            interfaces: interfaces.get_mut("interface").map(Json::take).unwrap_or_default(),
            devices,
            rules: rules["stdout"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

impl RouterState {
    /// Reads everything, in one request and a new login. Nothing is read as long as a change waits
    /// to be confirmed, since the router may undo that in a moment; and it is read again if one has
    /// begun meanwhile.
    ///
    /// # Errors
    /// The router does not answer, or its answer cannot be read; or a change waits
    /// ([`UbusError::Waiting`]).
    pub fn read(ubus: &mut Ubus) -> Result<Self, UbusError> {
        let mut calls = vec![
            probe(),
            UbusCall::uci("changes", json!({})),
            UbusCall { object: "system", method: "board", args: json!({}) },
        ];
        calls.extend(CONFIGS.map(get));
        calls.extend(live());
        calls.push(probe());
        for _ in 0..READS {
            ubus.end_session();
            let mut answers = ubus.read_each(&calls)?;
            if waits(answers.remove(0))? {
                return Err(ubus.waiting());
            }
            let has_begun = answers.pop().map_or(Ok(false), waits)?;
            let mut answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
            // The session may be the one whose change has waited until a moment ago: then that
            // change is staged in it again.
            let staged = answers.remove(0);
            let is_clean = staged["changes"].as_object().is_none_or(serde_json::Map::is_empty);
            if is_clean && !has_begun {
                return Self::of(answers);
            }
        }
        Err(ubus.waiting())
    }

    /// Parses the answers: board, files and running state.
    fn of(mut answers: Vec<Json>) -> Result<Self, UbusError> {
        let live = LiveState::of(answers.split_off(1 + CONFIGS.len()));
        let model = answers[0]["model"].as_str().unwrap_or("the router").to_owned();
        let mut sections = vec![];
        for (config, answer) in CONFIGS.iter().zip(&answers[1..]) {
            sections.extend(sections_of(config, answer)?);
        }
        Ok(Self { model, sections, live })
    }

    /// Our sections, in a canonical order.
    pub fn ours(&self) -> Vec<String> {
        let mut ours: Vec<_> = self.sections.iter().filter(|it| is_ours(it)).map(sorted).collect();
        ours.sort();
        ours
    }

    /// The configuration as `uci export` writes it; `uci import` restores it.
    pub fn export(&self) -> String {
        let mut text = String::new();
        for config in CONFIGS {
            text += &format!("package {config}\n\n");
            let of = self.sections.iter().filter(|it| it.config == config);
            of.for_each(|section| text += &section.to_string());
        }
        text
    }
}

/// A section as text, with its options sorted by name.
pub(crate) fn sorted(section: &UciSection) -> String {
    let mut section = section.clone();
    section.options.sort_by(|(a, _), (b, _)| a.cmp(b));
    format!("{}: {section}", section.config)
}

/// The sections of one file, in order.
pub(crate) fn sections_of(config: &str, answer: &Json) -> Result<Vec<UciSection>, UbusError> {
    let unread = |what: &str| UbusError::Unread(format!("{what} in `{config}`"));
    let values = answer["values"].as_object().ok_or_else(|| unread("no sections"))?;
    let mut all = vec![];
    for (name, json) in values {
        let json = json.as_object().ok_or_else(|| unread("a section that is none"))?;
        let kind = json.get(".type").and_then(Json::as_str);
        let index = json.get(".index").and_then(Json::as_u64);
        let (Some(kind), Some(index)) = (kind, index) else {
            return Err(unread("a section without type and place"));
        };
        let is_anonymous = json.get(".anonymous") == Some(&Json::Bool(true));
        let mut section = UciSection::new(config, kind, name);
        section.name = section.name.filter(|_| !is_anonymous);
        for (key, value) in json.iter().filter(|(key, _)| !key.starts_with('.')) {
            let value = match value {
                Json::String(text) => Value::One(text.clone()),
                Json::Array(list) => {
                    let texts = list.iter().map(|it| it.as_str().map(str::to_owned));
                    let texts: Option<Vec<_>> = texts.collect();
                    Value::List(texts.ok_or_else(|| unread("a list of something else than texts"))?)
                }
                _ => return Err(unread("an option that is neither text nor list")),
            };
            section.options.push((key.clone(), value));
        }
        all.push((index, section));
    }
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, section)| section).collect())
}
