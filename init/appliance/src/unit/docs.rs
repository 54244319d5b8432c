//! Holds docs/units.md against the types: below its mark it is made from them.

use std::fmt::Write as _;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::bounds::bounds;
use super::{DevicePath, Port, Unit};
use crate::bytes::Bytes;
use crate::duration::TimeSpan;
use crate::name::{ModuleName, UnitName};
use crate::path::{ImagePath, TreePath};
use crate::user::UserName;
use crate::{CallGroup, Capability};

/// What is above is written by hand.
const MARK: &str = "<!-- Made from the types below this line: OCTET_WRITE_DOCS=1 cargo test -p octet-appliance docs -->\n";

/// What the table calls a type that is text in the file.
macro_rules! called {
    ($($type:ty: $name:literal),* $(,)?) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "title": $name })
            }
        })*
    };
}

called! {
    UnitName: "name",
    ModuleName: "module",
    ImagePath: "path",
    TreePath: "path",
    UserName: "user",
    TimeSpan: "time",
    Bytes: "bytes",
    Port: "protocol/port",
    DevicePath: "device",
}

/// Keys whose default is not one value.
const DEFAULTS: [(&str, &str); 8] = [
    ("name", "must be said"),
    ("exec", "must be said, except of a target"),
    ("user", "the user of the unit's name"),
    ("readiness", "a daemon's `notify`, otherwise `exit`"),
    ("restart.policy", "a daemon's `always`, otherwise `on-failure`"),
    ("sockets.NAME.path", "`path` or `port` must be said"),
    ("sockets.NAME.port", "`path` or `port` must be said"),
    ("sockets.NAME.open", "`false`"),
];

/// The table of keys, row by row.
struct Keys {
    root: Value,
    defaults: Value,
    rows: String,
}

impl Keys {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12();
        let schema = settings.into_generator().into_root_schema_for::<Unit>();
        let text = "name = \"x\"\nexec = \"/x\"\nuser = \"extra-1\"\n";
        let (unit, _) = Unit::parse("unit.toml", text).unwrap();
        Self {
            root: schema.to_value(),
            defaults: serde_json::to_value(unit).unwrap(),
            rows: String::new(),
        }
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let is_null = |option: &&Value| option["type"] == "null";
        if let Some(options) = schema["anyOf"].as_array() {
            return self.resolve(options.iter().find(|option| !is_null(option)).unwrap());
        }
        match schema["$ref"].as_str() {
            Some(name) => self.root.pointer(name.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    /// Adds the rows of the keys in the table `schema`, which is at `prefix`.
    fn table(&mut self, schema: &Value, prefix: &str) {
        for (field, schema) in schema["properties"].as_object().unwrap().clone() {
            let key = match field.as_str() {
                "filters" | "boards" => continue,
                "unit_type" => "type",
                field => field,
            };
            let path = format!("{prefix}{key}");
            let inner = self.resolve(&schema).clone();
            let entries = inner["additionalProperties"].clone();
            if inner["properties"].is_object() {
                self.table(&inner, &format!("{path}."));
            } else if entries.is_object() && self.resolve(&entries)["properties"].is_object() {
                let entries = self.resolve(&entries).clone();
                self.row(&format!("{path}.NAME"), &schema, "table", "none");
                self.table(&entries, &format!("{path}.NAME."));
            } else {
                let pointer = format!("/{prefix}{field}").replace('.', "/");
                let default = self.default(&path, &pointer);
                let kind = self.kind(&schema);
                let path = if entries.is_object() { format!("{path}.NAME") } else { path };
                self.row(&path, &schema, &kind, &default);
            }
        }
    }

    fn default(&self, path: &str, pointer: &str) -> String {
        if let Some((_, said)) = DEFAULTS.iter().find(|(key, _)| *key == path) {
            return (*said).to_owned();
        }
        match self.defaults.pointer(pointer) {
            None | Some(Value::Null) => "none".into(),
            Some(Value::Array(list)) if list.is_empty() => "none".into(),
            Some(Value::Object(map)) if map.is_empty() => "none".into(),
            Some(Value::String(text)) if text.is_empty() => "none".into(),
            Some(Value::String(text)) => format!("`\"{text}\"`"),
            Some(other) => format!("`{other}`"),
        }
    }

    fn kind(&self, schema: &Value) -> String {
        let schema = self.resolve(schema);
        if let Some(name) = schema["title"].as_str() {
            return name.to_owned();
        }
        if schema["oneOf"].is_array() || schema["enum"].is_array() {
            return "word".into();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[0].as_str(),
            kind => kind.as_str(),
        };
        match kind {
            Some("array") => format!("list of {}", self.kind(&schema["items"])),
            Some("object") => self.kind(&schema["additionalProperties"]),
            Some("string") => "text".into(),
            Some("integer") => "number".into(),
            Some("boolean") => "`true` or `false`".into(),
            other => panic!("{other:?}: {schema}"),
        }
    }

    fn row(&mut self, path: &str, schema: &Value, kind: &str, default: &str) {
        let items = schema["items"].is_object().then(|| self.resolve(&schema["items"]));
        let words = items.unwrap_or_else(|| self.resolve(schema));
        let range = match bounds().iter().find(|bound| bound.key == path) {
            Some(bound) if kind.starts_with("list") => format!("{} entries", bound.range()),
            Some(bound) => bound.range(),
            None if kind.contains("word") => allowed_values(path, words),
            None => String::new(),
        };
        let said = schema["description"].as_str().unwrap_or_default();
        assert!(!said.is_empty(), "{path} has no line of documentation");
        let said = said.replace('\n', " ").replace('|', "\\|");
        writeln!(self.rows, "| `{path}` | {kind} | {range} | {default} | {said} |").unwrap();
    }
}

/// The words that a key may have, if they are few.
fn allowed_values(path: &str, schema: &Value) -> String {
    let of_enum = schema["enum"].as_array().into_iter().flatten();
    let of_one = schema["oneOf"].as_array().into_iter().flatten().map(|option| &option["const"]);
    let words: Vec<String> =
        of_enum.chain(of_one).filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
    match path {
        "sandbox.capabilities" | "sandbox.system_calls" => "see below".into(),
        _ => words.join(", "),
    }
}

fn values_table(title: &str, schema: &Value) -> String {
    let mut out = format!("\n### {title}\n\n| Value | Meaning |\n|---|---|\n");
    for option in schema["oneOf"].as_array().unwrap() {
        let (word, said) = (option["const"].as_str().unwrap(), &option["description"]);
        let said = said.as_str().unwrap().replace('\n', " ");
        writeln!(out, "| `{word}` | {said} |").unwrap();
    }
    out
}

/// What is below the mark.
fn generate() -> String {
    let mut keys = Keys::new();
    let root = keys.root.clone();
    keys.table(&root, "");
    let mut out = format!(
        "\n## Every key\n\n| Key | Type | Range | Default | Meaning |\n|---|---|---|---|---|\n{}",
        keys.rows
    );
    let definition = |name: &str| root["$defs"][name].clone();
    for (title, name) in [
        ("type", "UnitType"),
        ("readiness", "Readiness"),
        ("stdio", "Stdio"),
        ("config", "SettingsSection"),
        ("restart.policy", "RestartPolicy"),
        ("sandbox.network", "NetworkAccess"),
    ] {
        out += &values_table(title, &definition(name));
    }
    out += "\n### sandbox.capabilities\n\nAn owner's service may have those of the first line.\n\n";
    let every: Vec<Capability> = definition("Capability")["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|option| serde_json::from_value(option["const"].clone()).unwrap())
        .collect();
    for of_others in [false, true] {
        let names: Vec<String> = every
            .iter()
            .filter(|capability| capability.is_of_others() == of_others)
            .map(|capability| format!("`{}`", capability.name()))
            .collect();
        let who = if of_others { "Octet's own units only" } else { "Every unit" };
        writeln!(out, "- {who}: {}.", names.join(", ")).unwrap();
    }
    out += "\n### sandbox.system_calls\n\n| Group | For | System calls |\n|---|---|---|\n";
    let said = definition("CallGroup");
    for group in CallGroup::EVERY {
        let said = said["oneOf"].as_array().unwrap().iter().find(|o| o["const"] == group.name());
        let said = said.unwrap()["description"].as_str().unwrap().replace('\n', " ");
        let calls = group.calls().map(|call| format!("`{call}`"));
        let calls: Vec<String> =
            calls.chain(group.calls_of_x86_64().map(|call| format!("`{call}`¹"))).collect();
        writeln!(out, "| `{}` | {said} | {} |", group.name(), calls.join(" ")).unwrap();
    }
    out + "\n¹ x86-64 only: older forms that 64-bit Arm never had.\n"
}

#[test]
fn docs_say_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/units.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(MARK).expect("the mark is there");
    let made = generate();
    for example in head.split("```toml\n").skip(1) {
        let example = example.split("```").next().unwrap();
        if let Err(error) = Unit::parse("an example in docs/units.md", example) {
            panic!("{error}; {}\n{example}", error.hint);
        }
    }
    if std::env::var_os("OCTET_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{MARK}{made}")).unwrap();
    } else {
        assert!(
            rest == made,
            "docs/units.md is not what the types say; renew it: \
             OCTET_WRITE_DOCS=1 cargo test -p octet-appliance docs"
        );
    }
}
