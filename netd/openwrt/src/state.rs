//! A router as it is: its configuration, and what its daemons have made of that.

use octet_router::openwrt::router::is_ours;
use octet_router::openwrt::uci::{Section, Value};
use serde_json::{Value as Json, json};

use crate::ubus::{Call, Ubus, UbusError};

/// Files that are read: ours are in all of them but the last.
pub const CONFIGS: [&str; 4] = ["network", "firewall", "dhcp", "system"];

/// The program that lists the rules in force, without how often each was met.
pub const NFT: (&str, [&str; 5]) = ("/usr/sbin/nft", ["-s", "list", "table", "inet", "fw4"]);

/// A router as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What it is, as its maker calls it.
    pub model: String,
    /// Its configuration.
    pub sections: Vec<Section>,
    /// What runs.
    pub live: Live,
    /// Whether a change waits to be confirmed: then all of this may be undone in a moment.
    pub is_waiting: bool,
}

/// What `netifd` and the firewall have made of the configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Live {
    /// `network.interface dump`
    pub interfaces: Json,
    /// `network.device status`
    pub devices: Json,
    /// The rules in force, as nft lists them.
    pub rules: String,
}

fn live() -> [Call; 3] {
    let (command, params) = NFT;
    [
        Call { object: "network.interface", method: "dump", args: json!({}) },
        Call { object: "network.device", method: "status", args: json!({}) },
        Call {
            object: "file",
            method: "exec",
            args: json!({ "command": command, "params": params }),
        },
    ]
}

impl Live {
    /// Asks for it.
    ///
    /// # Errors
    /// The router does not say it.
    pub fn read(ubus: &mut Ubus) -> Result<Self, UbusError> {
        Ok(Self::of(ubus.read(&live())?))
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

impl State {
    /// Asks for all of it, in one request and a new session: that sees nothing that is staged, and has nothing of its own to
    /// confirm, so that it can ask whether somebody else has.
    ///
    /// # Errors
    /// The router does not say it, or something that cannot be read.
    pub fn read(ubus: &mut Ubus) -> Result<Self, UbusError> {
        ubus.end_session();
        let mut calls = vec![
            Call::uci("confirm", json!({})),
            Call { object: "system", method: "board", args: json!({}) },
        ];
        calls.extend(CONFIGS.map(|config| Call::uci("get", json!({ "config": config }))));
        calls.extend(live());
        let mut answers = ubus.read_each(&calls)?;
        let is_waiting = match answers.remove(0) {
            Err(UbusError::NoData(_)) | Ok(_) => false,
            Err(UbusError::Refused(_)) => true,
            Err(error) => return Err(error),
        };
        let mut answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        let live = Live::of(answers.split_off(1 + CONFIGS.len()));
        let model = answers[0]["model"].as_str().unwrap_or("the router").to_owned();
        let mut sections = vec![];
        for (config, answer) in CONFIGS.iter().zip(&answers[1..]) {
            sections.extend(sections_of(config, answer)?);
        }
        Ok(Self { model, sections, live, is_waiting })
    }

    /// Our sections, in an order that says nothing.
    pub fn ours(&self) -> Vec<String> {
        let mut ours: Vec<_> = self.sections.iter().filter(|it| is_ours(it)).map(sorted).collect();
        ours.sort();
        ours
    }

    /// The configuration as `uci export` writes it, for a person to put back: `uci import`.
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

/// A section as a text, with its options in order of their names.
fn sorted(section: &Section) -> String {
    let mut section = section.clone();
    section.options.sort_by(|(a, _), (b, _)| a.cmp(b));
    format!("{}: {section}", section.config)
}

/// The sections of one file, in order.
fn sections_of(config: &str, answer: &Json) -> Result<Vec<Section>, UbusError> {
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
        let mut section = Section::new(config, kind, name);
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
