//! The router's methods, and their answers.

use serde_json::{Map, Value, json};

use crate::router::Router;
use crate::session::{NOBODY, Rights, Session, User};
use crate::{firewall, network};

/// The answer to a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A result code with its data.
    Result(u32, Option<Value>),
    /// A JSON-RPC error.
    Error(i32, &'static str),
}

/// The object or the session does not exist, or the ACL does not grant the method.
pub const DENIED: Answer = Answer::Error(-32002, "Access denied");

pub(crate) const OK: Answer = Answer::Result(0, None);
pub(crate) const INVALID: Answer = Answer::Result(2, None);
pub(crate) const NO_METHOD: Answer = Answer::Result(3, None);
pub(crate) const NOT_FOUND: Answer = Answer::Result(4, None);
pub(crate) const NO_DATA: Answer = Answer::Result(5, None);
pub(crate) const REFUSED: Answer = Answer::Result(6, None);
pub(crate) const NOT_SUPPORTED: Answer = Answer::Result(8, None);
pub(crate) const UNKNOWN: Answer = Answer::Result(9, None);

/// The maximum output of a program, plus one byte (`RPC_FILE_MAX_SIZE`).
const PROGRAM_WRITES: usize = 4096 * 64;

/// The content of `/etc/board.json`.
const BOARD: &str = "{\n\t\"model\": {\n\t\t\"id\": \"peer,dsa-8p1\",\n\t\t\"name\": \"Peer DSA 8+1 (lan1..lan8 + wan)\"\n\t}\n}\n";

const OBJECTS: [&str; 17] = [
    "file",
    "hotplug.button",
    "hotplug.ieee80211",
    "hotplug.iface",
    "hotplug.leds",
    "hotplug.net",
    "log",
    "network",
    "network.device",
    "network.interface",
    "network.wireless",
    "rc",
    "rpc-sys",
    "service",
    "session",
    "system",
    "uci",
];

/// The methods with their arguments.
const UCI: &str = "configs; get config:string section:string option:string type:string match:object sid; \
    state config:string section:string option:string type:string match:object sid; add config:string type:string \
    name:string values:object sid; set config:string section:string type:string match:object values:object sid; \
    delete config:string section:string type:string match:object option:string options:array sid; rename \
    config:string section:string option:string name:string sid; order config:string sections:array sid; changes \
    config:string sid; revert config:string sid; commit config:string sid; apply rollback:boolean timeout:number \
    sid; confirm sid; rollback sid; reload_config";
const SESSION: &str = "create timeout:number; list sid; grant sid scope:string objects:array; revoke sid \
    scope:string objects:array; access sid scope:string object:string function:string; set sid values:object; get \
    sid keys:array; unset sid keys:array; destroy sid; login username:string password:string timeout:number";
const DEVICE: &str = "status name:string; set_alias alias:array device:string; set_state name:string \
    defer:boolean auth_status:boolean auth_vlans:array; stp_init";

/// The methods of an object, in the format of `list`.
pub fn methods(object: &str) -> Option<Value> {
    let text = match object {
        "uci" => UCI,
        "session" => SESSION,
        "network.device" => DEVICE,
        _ => return OBJECTS.contains(&object).then(|| json!({})),
    };
    let mut methods = Map::new();
    for method in text.split("; ") {
        let mut words = method.split_whitespace();
        let name = words.next().unwrap_or_default().to_owned();
        let mut takes = Map::new();
        for word in words {
            let (name, kind) = word.split_once(':').unwrap_or(("ubus_rpc_session", "string"));
            takes.insert(name.to_owned(), json!(kind));
        }
        methods.insert(name, Value::Object(takes));
    }
    Some(Value::Object(methods))
}

/// The arguments of a call.
pub(crate) struct Args<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Args<'a> {
    /// A text argument, if it is given.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Answer> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(INVALID),
        }
    }

    pub(crate) fn must(&self, name: &str) -> Result<&'a str, Answer> {
        self.text(name)?.ok_or(INVALID)
    }

    pub(crate) fn object(&self, name: &str) -> Option<&'a Map<String, Value>> {
        self.0.get(name).and_then(Value::as_object)
    }

    pub(crate) fn array(&self, name: &str) -> Option<Vec<&'a str>> {
        let list = self.0.get(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect())
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }
}

impl Router {
    /// All objects, sorted by name.
    pub fn objects(&self) -> Vec<String> {
        let interfaces = network::interfaces(self).into_keys();
        let interfaces = interfaces.map(|name| format!("network.interface.{name}"));
        let mut all: Vec<String> =
            OBJECTS.iter().map(|it| (*it).to_owned()).chain(interfaces).collect();
        all.sort();
        all
    }

    /// Calls a method with the session `sid`.
    pub fn call(
        &mut self,
        sid: &str,
        object: &str,
        method: &str,
        args: &Map<String, Value>,
    ) -> Answer {
        if let Some((_, act)) = self.meanwhile.take_if(|(before, _)| *before == object) {
            act(self);
        }
        // The order of these checks is that of uhttpd.
        if !self.objects().iter().any(|it| it == object) {
            return Answer::Error(-32000, "Object not found");
        }
        let now = self.now;
        let is_login = (sid, object, method) == (NOBODY, "session", "login");
        let session = self.sessions.get_mut(sid).filter(|session| session.is_alive(now));
        let rights = session.map(|session| {
            session.touch(now);
            session.rights.clone()
        });
        let rights = rights.filter(|rights| rights.may(object, method));
        if !is_login && rights.is_none() {
            return DENIED;
        }
        if args.contains_key("ubus_rpc_session") {
            return Answer::Error(-32602, "Invalid parameters");
        }
        let args = Args(args);
        let Some(rights) = rights.filter(|_| !is_login) else {
            return self.login(&args).unwrap_or_else(|answer| answer);
        };
        let answer = match object {
            "uci" => self.uci((sid, &rights), method, &args),
            "session" => self.session((sid, &rights), method, &args),
            "file" => self.file_call(&rights, method, &args),
            "system" => Ok(self.system(method)),
            "service" => Ok(Answer::Result(0, Some(service()))),
            _ => self.network(object, method, &args),
        };
        answer.unwrap_or_else(|answer| answer)
    }

    fn login(&mut self, args: &Args<'_>) -> Result<Answer, Answer> {
        let (name, password) = (args.must("username")?, args.must("password")?);
        let Some(rights) = self.rights(name, password) else { return Ok(REFUSED) };
        // A number of more than 32 bits is ignored.
        let timeout = args.number("timeout").filter(|it| i32::try_from(*it).is_ok());
        let now = self.now;
        // The session with the pending change may be lost: the same user gets it again
        // (`rpc_reclaim_apply_session`).
        if let Some(sid) = self.pending.as_ref().map(|pending| pending.session.clone())
            && let Some(session) = self.sessions.get_mut(&sid)
            && session.user == name
            && session.is_alive(now)
        {
            session.touch(now);
            session.rights = rights;
            return Ok(Answer::Result(0, Some(session.json(&sid, false))));
        }
        self.logins += 1;
        let sid = format!("{:032x}", self.logins);
        let session = Session::new(name, rights, timeout, now);
        let json = session.json(&sid, timeout != Some(0));
        self.sessions.insert(sid, session);
        Ok(Answer::Result(0, Some(json)))
    }

    fn session(
        &mut self,
        (sid, rights): (&str, &Rights),
        method: &str,
        args: &Args<'_>,
    ) -> Result<Answer, Answer> {
        match method {
            "list" => Ok(Answer::Result(0, self.sessions.get(sid).map(|it| it.json(sid, false)))),
            "access" => {
                let (scope, object) = (args.must("scope")?, args.must("object")?);
                let function = args.text("function")?.unwrap_or_default();
                let access = match scope {
                    "uci" => rights.may_uci(object, function == "write"),
                    "ubus" => rights.may(object, function),
                    _ => rights.user == User::Root,
                };
                Ok(Answer::Result(0, Some(json!({ "access": access }))))
            }
            "destroy" => {
                self.sessions.remove(sid);
                Ok(OK)
            }
            _ => Ok(NO_METHOD),
        }
    }

    fn file_call(&self, rights: &Rights, method: &str, args: &Args<'_>) -> Result<Answer, Answer> {
        if method == "exec" {
            let given = args.array("params").unwrap_or_default();
            let line = [&[args.must("command")?], &given[..]].concat().join(" ");
            if !rights.may_run(&line) {
                return Ok(REFUSED);
            }
            let ran = firewall::run(self, &line);
            let length = |stream: &str| ran[stream].as_str().unwrap_or_default().len();
            if length("stdout").max(length("stderr")) >= PROGRAM_WRITES {
                return Ok(NOT_SUPPORTED);
            }
            return Ok(Answer::Result(0, Some(ran)));
        }
        let path = args.must("path")?;
        if rights.user != User::Root && (method, path) != ("read", "/etc/board.json") {
            return Ok(REFUSED);
        }
        let config = path.strip_prefix("/etc/config/").filter(|it| self.files.contains_key(*it));
        let stat = |name: &str| {
            let size = self.file(name).len();
            json!({ "type": "file", "size": size, "mode": 0o100_600, "atime": 0, "mtime": 0, "ctime": 0,
                "inode": 0, "uid": 0, "gid": 0, "user": "root", "group": "root" })
        };
        let value = match (method, path, config) {
            ("read", "/etc/board.json", _) => json!({ "data": BOARD }),
            ("read", _, Some(name)) => json!({ "data": self.file(name) }),
            ("stat", _, Some(name)) => {
                let mut stat = stat(name);
                stat["path"] = json!(path);
                stat
            }
            ("md5", _, Some(_)) => json!({ "md5": "00000000000000000000000000000000" }),
            ("list", "/etc/config", _) => {
                let entry = |name: &String| {
                    let mut entry = stat(name);
                    entry["name"] = json!(name);
                    entry
                };
                json!({ "entries": self.files.keys().map(entry).collect::<Vec<_>>() })
            }
            _ => return Ok(NOT_FOUND),
        };
        Ok(Answer::Result(0, Some(value)))
    }

    fn system(&self, method: &str) -> Answer {
        let value = match method {
            "board" => json!({
                "kernel": "6.18.56-0-virt", "hostname": "OpenWrt", "system": "QEMU TCG CPU version 2.5+",
                "model": "Peer DSA 8+1 (lan1..lan8 + wan)", "board_name": "peer,dsa-8p1", "rootfs_type": "rootfs",
                "release": {
                    "distribution": "OpenWrt", "version": "SNAPSHOT", "revision": "r0-peer", "target": "x86/64",
                    "firmware_url": "https://firmware-selector.openwrt.org/", "builddate": "1755800000",
                    "description": "OpenWrt SNAPSHOT r0-peer",
                },
            }),
            "info" => json!({
                "localtime": 0, "uptime": self.now.as_secs(), "load": [0, 0, 0],
                "memory": { "total": 0, "free": 0, "shared": 0, "buffered": 0, "available": 0, "cached": 0 },
                "root": { "total": 0, "free": 0, "used": 0, "avail": 0 },
                "tmp": { "total": 0, "free": 0, "used": 0, "avail": 0 },
                "swap": { "total": 0, "free": 0 },
            }),
            _ => return NO_METHOD,
        };
        Answer::Result(0, Some(value))
    }

    fn network(&self, object: &str, method: &str, args: &Args<'_>) -> Result<Answer, Answer> {
        let value = match (object, method) {
            ("network.device", "status") => match args.text("name")? {
                None => Some(network::devices(self)),
                Some(name) => Some(network::device(self, name).ok_or(INVALID)?),
            },
            ("network.interface", "dump") => Some(network::dump(self)),
            ("network.interface", "status") => network::status(self, args.must("interface")?),
            (_, "status") => match object.strip_prefix("network.interface.") {
                Some(name) => network::status(self, name),
                None => return Ok(NO_METHOD),
            },
            _ => return Ok(NO_METHOD),
        };
        Ok(value.map_or(NOT_FOUND, |value| Answer::Result(0, Some(value))))
    }
}

fn service() -> Value {
    json!({ "network": { "instances": { "instance1": {
        "running": true, "pid": 1, "command": ["/sbin/netifd", "-l", "2"], "term_timeout": 5,
        "limits": { "core": "unlimited" }, "respawn": { "threshold": 3600, "timeout": 5, "retry": 5 },
    } } } })
}
