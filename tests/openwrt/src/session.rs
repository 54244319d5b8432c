//! The sessions of `rpcd`, and their permissions.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::router::{Files, Staged};

/// The session of unauthenticated clients.
pub const NOBODY: &str = "00000000000000000000000000000000";

/// The default timeout of an unused session, in seconds.
const LASTS: i64 = 300;

/// A user of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    Root,
    /// The login of the remote configuration, whose own ACL grants reading and writing.
    Adapter,
    Viewer,
}

/// The permissions of a login: those of the user, or of an ACL that a test has installed.
#[derive(Debug, Clone)]
pub struct Rights {
    pub user: User,
    acl: Option<Arc<Value>>,
}

#[derive(Debug, Clone)]
pub struct Session {
    pub user: String,
    pub rights: Rights,
    timeout: i64,
    used: Duration,
    /// The staged changes, which only this session sees.
    pub staged: Staged,
    /// A cache of files with the staged changes.
    pub seen: Files,
}

/// The router's ACL for the adapter: objects with their methods for reading, and further ones for
/// writing.
const READS: [(&str, &[&str]); 8] = [
    ("file", &["read", "stat", "list"]),
    ("network", &["get_proto_handlers"]),
    ("network.device", &["status"]),
    ("network.interface", &["dump", "status"]),
    ("network.interface.*", &["status"]),
    ("service", &["list"]),
    ("session", &["access", "destroy"]),
    ("system", &["board", "info"]),
];
const UCI_READS: [&str; 4] = ["get", "changes", "configs", "state"];
const UCI_WRITES: [&str; 10] =
    ["set", "add", "delete", "rename", "order", "revert", "apply", "confirm", "rollback", "commit"];
const WRITABLE: [&str; 4] = ["dhcp", "firewall", "network", "wireless"];
const READABLE: [&str; 5] = ["dhcp", "firewall", "network", "system", "wireless"];

/// The programs that the adapter's ACL permits.
const PROGRAMS: [&str; 2] = ["/sbin/fw4 check", "/usr/sbin/nft -s list table inet fw4"];

impl User {
    /// The user with these credentials.
    pub fn of(name: &str, password: &str) -> Option<Self> {
        match (name, password) {
            ("root", "rootpw") => Some(Self::Root),
            ("adapter", "adapterpw") => Some(Self::Adapter),
            ("viewer", "adapterpw") => Some(Self::Viewer),
            _ => None,
        }
    }

    /// Whether the ACL grants a method.
    pub fn may(self, object: &str, method: &str) -> bool {
        if self == Self::Root {
            return true;
        }
        let is_it = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => object.starts_with(start),
            None => object == pattern,
        };
        let reads = READS.iter().any(|(it, methods)| is_it(it) && methods.contains(&method));
        let writes = self == Self::Adapter
            && (object == "uci" && UCI_WRITES.contains(&method)
                || (object, method) == ("file", "exec"));
        reads || writes || object == "uci" && UCI_READS.contains(&method)
    }

    /// Whether the ACL grants a file of `/etc/config`.
    pub fn may_uci(self, config: &str, writes: bool) -> bool {
        match self {
            Self::Root => true,
            Self::Adapter if writes => WRITABLE.contains(&config),
            Self::Viewer if writes => false,
            _ => READABLE.contains(&config),
        }
    }

    fn acls(self) -> Value {
        let writes = self != Self::Viewer;
        let mut ubus = json!({});
        for (object, methods) in READS {
            ubus[object] = json!(methods);
        }
        ubus["uci"] = json!(UCI_READS);
        let files =
            |rights: &[&str]| json!({ "/etc/board.json": rights, "/etc/openwrt_release": rights });
        let mut acls = json!({
            "access-group": { "switch-adapter": ["read"] },
            "file": files(&["read"]),
            "ubus": ubus,
            "uci": {},
        });
        for config in READABLE {
            let rights: &[&str] = match self.may_uci(config, true) && WRITABLE.contains(&config) {
                true => &["read", "write"],
                false => &["read"],
            };
            acls["uci"][config] = json!(rights);
        }
        if writes {
            acls["access-group"]["switch-adapter"] = json!(["read", "write"]);
            acls["file"]["/sbin/fw4 check"] = json!(["exec"]);
            acls["ubus"]["file"] = json!(["read", "stat", "list", "exec"]);
            let methods: Vec<_> = UCI_READS.into_iter().chain(UCI_WRITES).collect();
            acls["ubus"]["uci"] = json!(methods);
        }
        if self == Self::Root {
            acls["access-group"]["superuser"] = json!(["read", "write"]);
            acls["access-group"]["unauthenticated"] = json!(["read"]);
            acls["cgi-io"] = json!({ "*": ["write"] });
            acls["file"]["*"] = json!(["*"]);
            acls["ubus"]["*"] = json!(["*"]);
            acls["ubus"]["session"] = json!(["access", "destroy", "login"]);
            acls["uci"]["*"] = json!(["read", "write"]);
        }
        acls
    }
}

impl Rights {
    pub fn of(user: User) -> Self {
        Self { user, acl: None }
    }

    /// The permissions that a file in `/usr/share/rpcd/acl.d/` grants.
    pub fn granted(acl: Arc<Value>) -> Self {
        Self { user: User::Viewer, acl: Some(acl) }
    }

    /// The lists of the ACL for this scope: for reading, and for writing too if `writes` is true.
    fn lists<'a>(acl: &'a Value, scope: &'a str, writes: bool) -> impl Iterator<Item = &'a Value> {
        let groups = acl.as_object().into_iter().flat_map(|acl| acl.values());
        let rights: &[&str] = if writes { &["write"] } else { &["read", "write"] };
        groups.flat_map(move |group| rights.iter().map(move |right| &group[right][scope]))
    }

    /// Whether a method is granted.
    pub fn may(&self, object: &str, method: &str) -> bool {
        let Some(acl) = &self.acl else { return self.user.may(object, method) };
        let has = |list: &Value| list.as_array().is_some_and(|it| it.iter().any(|it| it == method));
        Self::lists(acl, "ubus", false).any(|objects| has(&objects[object]))
    }

    /// Whether a file of `/etc/config` is granted.
    pub fn may_uci(&self, config: &str, writes: bool) -> bool {
        let Some(acl) = &self.acl else { return self.user.may_uci(config, writes) };
        let has = |list: &Value| list.as_array().is_some_and(|it| it.iter().any(|it| it == config));
        Self::lists(acl, "uci", writes).any(has)
    }

    /// Whether a program with these arguments is granted.
    pub fn may_run(&self, line: &str) -> bool {
        let Some(acl) = &self.acl else { return PROGRAMS.contains(&line) };
        Self::lists(acl, "file", false).any(|files| files[line] == json!(["exec"]))
    }
}

impl Session {
    /// A new session of `user`, with the requested `timeout`, if any.
    pub fn new(user: &str, rights: Rights, timeout: Option<i64>, now: Duration) -> Self {
        let (user, timeout) = (user.to_owned(), timeout.unwrap_or(LASTS));
        Self { user, rights, timeout, used: now, staged: Staged::new(), seen: Files::new() }
    }

    /// Whether it is still valid; a session without a timeout always is.
    pub fn is_alive(&self, now: Duration) -> bool {
        match u64::try_from(self.timeout) {
            Ok(0) => true,
            Ok(timeout) => now < self.used + Duration::from_secs(timeout),
            Err(_) => false,
        }
    }

    pub fn touch(&mut self, now: Duration) {
        self.used = now;
    }

    /// The session in the format of `session login` and `session list`, with the remaining seconds.
    pub fn json(&self, name: &str, is_new: bool) -> Value {
        let left = (self.timeout - i64::from(is_new)).max(0);
        json!({
            "ubus_rpc_session": name,
            "timeout": self.timeout,
            "expires": left,
            "acls": self.rights.user.acls(),
            "data": { "username": self.user },
        })
    }
}
