//! The recordings, and a double to which they are replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use octet_openwrt_double::Router;
use octet_openwrt_double::http::Request;
use octet_openwrt_double::ubus::Answer;
use serde_json::{Map, Value, json};

/// Fields whose value differs each time; only their type is compared.
const VARYING: [&str; 16] = [
    "ubus_rpc_session",
    "uptime",
    "localtime",
    "load",
    "memory",
    "root",
    "tmp",
    "size",
    "atime",
    "mtime",
    "ctime",
    "inode",
    "md5",
    "pid",
    "statistics",
    "entries",
];

/// The session of unauthenticated clients, and invalid ones.
const NOBODYS: [&str; 4] = ["00000000000000000000000000000000", "short", "deadbe", "111111"];

pub struct Recordings(BTreeMap<String, Value>);

impl Recordings {
    pub fn of_a_real_router() -> Option<Self> {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/openwrt/transcripts");
        if !folder.is_dir() {
            assert!(std::env::var_os("CI").is_none(), "CI has no {}", folder.display());
            return None;
        }
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let recording = |path: std::path::PathBuf| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap())
        };
        Some(Self(files.map(recording).collect()))
    }

    /// A few exchanges, written by hand.
    pub fn few() -> Self {
        let few: Vec<Value> =
            serde_json::from_str(include_str!("../../testdata/exchanges.json")).unwrap();
        let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
        Self(few.into_iter().map(|it| (name(&it), it)).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The recording with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The names of the recordings with a request and its response.
    pub fn requests(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter(|(_, it)| it.get("request").is_some()).map(|(name, _)| name.clone())
    }

    /// The session of a request (abbreviated), and its number there.
    fn place(&self, name: &str) -> (String, i64) {
        let body = &self.0[name]["request"]["body"];
        let session = body["params"][0].as_str().unwrap_or_default();
        let short = session.get(..6).filter(|_| !NOBODYS.contains(&session)).unwrap_or(session);
        (short.to_owned(), body["id"].as_i64().unwrap_or(i64::MAX))
    }
}

/// A double to which recordings are replayed.
pub struct Replay<'a> {
    recordings: &'a Recordings,
    pub router: Router,
    pub seen: BTreeSet<String>,
    /// The responses that differ.
    pub differences: Vec<String>,
    /// Maps sessions of recordings to those of the double.
    sessions: BTreeMap<String, String>,
}

impl<'a> Replay<'a> {
    pub fn new(recordings: &'a Recordings) -> Self {
        let (router, seen) = (Router::default(), BTreeSet::new());
        Self { recordings, router, seen, differences: vec![], sessions: BTreeMap::new() }
    }

    pub fn fresh(&mut self, router: Router) {
        self.router = router;
        self.sessions.clear();
    }

    /// Logs in a user whose login was not recorded.
    pub fn log_in(&mut self, session: &str, user: &str) {
        let password = if user == "root" { "rootpw" } else { "adapterpw" };
        let args = json!({ "username": user, "password": password });
        let answer = self.router.call(NOBODYS[0], "session", "login", args.as_object().unwrap());
        let Answer::Result(0, Some(value)) = answer else { panic!("{answer:?}") };
        self.sessions.insert(session.into(), value["ubus_rpc_session"].as_str().unwrap().into());
    }

    /// The double's session for a recorded one.
    pub fn session(&self, session: &str) -> String {
        self.sessions.get(session).cloned().unwrap_or_else(|| session.to_owned())
    }

    /// Makes a call that happened between recordings.
    pub fn uci(&mut self, session: &str, method: &str, args: &Value) -> Value {
        let session = self.session(session);
        match self.router.call(&session, "uci", method, args.as_object().unwrap()) {
            Answer::Result(0, value) => value.unwrap_or_default(),
            other => panic!("{method} {args}: {other:?}"),
        }
    }

    /// A recording that is not a request.
    pub fn other(&self, name: &str) -> Value {
        self.recordings.get(name).unwrap().clone()
    }

    /// Replays the requests of a session with these numbers.
    pub fn ids(&mut self, session: &str, ids: RangeInclusive<i64>) {
        let names = self.recordings.requests().map(|name| (self.recordings.place(&name), name));
        let mut names: Vec<_> =
            names.filter(|((of, id), _)| of == session && ids.contains(id)).collect();
        assert!(!names.is_empty(), "{session} {ids:?}");
        names.sort();
        names.into_iter().for_each(|(_, name)| self.send(&name));
    }

    /// Replays the read-only requests to a router as shipped, in the order of their numbers, with
    /// those of the HTTP layer last.
    pub fn of_first_stand(&mut self) {
        let of = |session: &str| {
            let known = [
                "", "840f1a", "5b651d", "a14650", "e27961", "1c4c64", "short", "deadbe", "111111",
                "uci",
            ];
            known.contains(&session) || session == NOBODYS[0]
        };
        let names = self.recordings.requests().map(|name| (self.recordings.place(&name), name));
        let mut names: Vec<_> = names
            .filter(|((session, _), _)| of(session))
            .map(|((_, id), name)| (name.starts_with("wire_"), id, name))
            .collect();
        names.sort();
        for (_, _, name) in names {
            if name == "session_expired_after_3s" {
                self.router.pass(Duration::from_secs(4));
            }
            self.send(&name);
        }
    }

    fn send(&mut self, name: &str) {
        let recording = self.recordings.get(name).unwrap();
        let (asked, answered) = (&recording["request"], &recording["response"]);
        let body = match asked["body"]["_raw"].as_str() {
            Some(raw) => raw.to_owned(),
            None => asked["body"].to_string(),
        };
        let mut body = body;
        for (theirs, ours) in &self.sessions {
            if let Some(at) = body.find(theirs.as_str()) {
                // Sessions have 32 digits.
                let whole = body[at..at + 32].to_owned();
                body = body.replace(&whole, ours);
            }
        }
        // Header fields were not recorded.
        let bearer = (name == "wire_rest_call").then(|| self.session("840f1a"));
        let word = |key: &str| asked[key].as_str().unwrap().to_owned();
        let request =
            Request { method: word("method"), path: word("path"), bearer, body: body.into_bytes() };
        let response = self.router.handle(&request);
        self.seen.insert(name.to_owned());
        let Some(response) = response else {
            assert_eq!(answered["status"], 0, "{name} is not answered");
            return;
        };
        assert_eq!(answered["status"], response.status, "{name}");
        let kind = answered["headers"]["Content-Type"].as_str();
        assert!(kind.is_none() || kind == response.kind, "{name}: {kind:?}");
        let text = String::from_utf8(response.body).unwrap();
        if let Some(raw) = answered["body"]["_raw"].as_str() {
            assert_eq!(raw, text, "{name}");
            return;
        }
        let given: Value = serde_json::from_str(&text).unwrap();
        if let Some(at) = differs(&answered["body"], &given) {
            self.differences.push(format!("{name}: {at}"));
        }
        let session =
            |body: &Value| body["result"][1]["ubus_rpc_session"].as_str().map(str::to_owned);
        if let (Some(theirs), Some(ours)) = (session(&answered["body"]), session(&given)) {
            self.sessions.insert(theirs[..6].to_owned(), ours);
        }
    }
}

/// The first difference of two responses, except in varying fields.
fn differs(wanted: &Value, given: &Value) -> Option<String> {
    match (wanted, given) {
        (Value::Object(wanted), Value::Object(given)) => {
            let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<BTreeSet<_>>();
            if keys(wanted) != keys(given) {
                return Some(format!("{:?}, not {:?}", keys(given), keys(wanted)));
            }
            wanted.iter().find_map(|(key, value)| {
                if VARYING.contains(&key.as_str()) || key == "data" && value.is_string() {
                    let same = std::mem::discriminant(value) == std::mem::discriminant(&given[key]);
                    return (!same).then(|| format!("{key}: {}", given[key]));
                }
                differs(value, &given[key]).map(|at| format!("{key}: {at}"))
            })
        }
        (Value::Array(wanted), Value::Array(given)) if wanted.len() == given.len() => {
            wanted.iter().zip(given).find_map(|(wanted, given)| differs(wanted, given))
        }
        _ => (wanted != given).then(|| format!("{given}, not {wanted}")),
    }
}

/// The destinations of a frame that arrives at `from` (`lan1` or `lan7 tag10`), by the VLANs in the
/// bridge's status.
pub fn frames(router: &Router, from: &str) -> Value {
    let (port, tag) = from.split_once(" tag").map_or((from, None), |(port, tag)| (port, Some(tag)));
    let status = octet_openwrt_double::network::device(router, "br-lan").unwrap();
    let network = router.file("network");
    let is_isolated =
        |port: &str| network.contains(&format!("option name '{port}'\n\toption isolate '1'"));
    let mut to = Map::new();
    for vlan in status["bridge-vlans"].as_array().unwrap() {
        let id = vlan["id"].to_string();
        let ports = vlan["ports"].as_array().unwrap().iter();
        let ports: Vec<(&str, bool)> = ports
            .map(|it| it.as_str().unwrap().split_once(':').unwrap())
            .map(|(port, flag)| (port, flag == "t"))
            .collect();
        let comes_in = ports.iter().any(|(it, is_tagged)| {
            *it == port && if *is_tagged { tag == Some(id.as_str()) } else { tag.is_none() }
        });
        if !comes_in {
            continue;
        }
        for (it, is_tagged) in ports {
            if it != port && !(is_isolated(it) && is_isolated(port)) {
                let how = if is_tagged { format!("tag{id}") } else { "untagged".to_owned() };
                to.insert(it.to_owned(), json!([how]));
            }
        }
    }
    Value::Object(to)
}
