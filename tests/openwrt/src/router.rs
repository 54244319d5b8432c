//! The router: its files, its sessions, the pending change, and the configuration that its daemons
//! run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::firewall;
use crate::session::{Rights, Session, User};
use crate::uci::{Package, Row};

/// The files of `/etc/config` as OpenWrt ships them.
const STOCK: [(&str, &str); 7] = [
    ("dhcp", include_str!("../testdata/dhcp")),
    ("firewall", include_str!("../testdata/firewall")),
    ("network", include_str!("../testdata/network")),
    ("rpcd", ""),
    ("system", include_str!("../testdata/system")),
    ("uhttpd", ""),
    ("wireless", include_str!("../testdata/wireless")),
];

/// The recorded time until `netifd` has read changed files.
const NETWORK_FOLLOWS: Duration = Duration::from_secs(4);

/// The recorded time until the firewall is reloaded, which follows that.
const FIREWALL_FOLLOWS: Duration = Duration::from_millis(22_500);

/// The recorded time until the firewall is reloaded after a rollback.
const FIREWALL_FOLLOWS_BACK: Duration = Duration::from_millis(11_500);

/// With [`Router::is_early`] the firewall is reloaded once more before that: the file is new, but
/// `netifd` has not read anything yet.
const FIREWALL_BEGINS: Duration = Duration::from_secs(1);

/// The name of that early event.
const FIREWALL_EARLY: &str = "firewall, early";

/// The files, by name.
pub type Files = BTreeMap<String, Package>;

/// The staged changes of a session, by file.
pub type Staged = BTreeMap<String, Vec<Row>>;

/// An action of another user on the router itself.
pub type Act = fn(&mut Router);

#[derive(Debug)]
pub struct Router {
    /// The uptime.
    pub(crate) now: Duration,
    /// The files that survive a power cut.
    pub(crate) files: Files,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) pending: Option<Pending>,
    /// The configuration that `netifd` and `fw4` run.
    pub(crate) running: Files,
    /// The interfaces that `fw4` knew at its last reload.
    pub(crate) known: Package,
    /// All zones that ever had a chain: `fw4` empties chains, but never deletes them.
    pub(crate) zones: BTreeSet<String>,
    follows: BTreeMap<&'static str, Duration>,
    /// The port to which the client is connected.
    pub port: String,
    /// Whether its daemons never apply files.
    pub is_deaf: bool,
    /// The delay of its daemons, in percent of the recorded one.
    pub delay: u32,
    /// Whether `fw4` does not wait for `netifd`: it reloads before that knows new interfaces, and
    /// again afterwards.
    pub is_early: bool,
    /// Whether the power is cut when the next apply has written its first file.
    pub is_cut_between: bool,
    /// A file that another user has written so that UCI cannot parse it.
    pub unparsed: Option<&'static str>,
    /// The capacity of the flash for all files of `/etc/config` together, in bytes, if it is
    /// limited.
    pub flash: Option<usize>,
    /// The files that were truncated within a line, because the flash was full.
    pub(crate) cut: BTreeSet<String>,
    /// The logins besides the built-in ones: name, password and ACL.
    added: Vec<(String, String, Arc<Value>)>,
    /// Applies the configuration of the daemons to a kernel, if there is one.
    pub runs: Option<fn(&Files)>,
    /// An action of another user during a request: once, before a method of the object with this
    /// name.
    pub meanwhile: Option<(&'static str, Act)>,
    pub(crate) logins: u64,
}

/// A change that waits for its confirmation.
#[derive(Debug)]
pub(crate) struct Pending {
    pub session: String,
    until: Duration,
    before: Files,
    staged: Staged,
}

impl Pending {
    /// Discards the state for the rollback: the change stays pending until its timeout, and nothing
    /// is undone then.
    pub(crate) fn forget(&mut self) {
        self.staged.clear();
    }
}

impl Default for Router {
    fn default() -> Self {
        Self::with(&[])
    }
}

impl Router {
    /// A router as shipped, but with these files instead of its own; the client is at port `lan8`.
    pub fn with(files: &[(&str, &str)]) -> Self {
        let stock = STOCK.iter().chain(files);
        let files: Files =
            stock.map(|(name, text)| ((*name).to_owned(), Package::read(text))).collect();
        let mut router = Self {
            now: Duration::from_secs(60),
            running: files.clone(),
            known: Package::default(),
            zones: BTreeSet::new(),
            files,
            sessions: BTreeMap::new(),
            pending: None,
            follows: BTreeMap::new(),
            port: "lan8".to_owned(),
            is_deaf: false,
            delay: 100,
            is_early: false,
            is_cut_between: false,
            unparsed: None,
            flash: None,
            cut: BTreeSet::new(),
            added: vec![],
            runs: None,
            meanwhile: None,
            logins: 0,
        };
        router.run("firewall");
        router
    }

    /// Adds a login with the permissions in `acl`, which has the format of a file in
    /// `/usr/share/rpcd/acl.d/`.
    pub fn add_login(&mut self, name: &str, password: &str, acl: Value) {
        self.added.push((name.to_owned(), password.to_owned(), Arc::new(acl)));
    }

    /// Restarts `rpcd`: all sessions end, and logins that were added are available.
    pub fn restart_rpcd(&mut self) {
        self.kill_rpcd();
        self.added.clear();
    }

    /// The permissions of the login with these credentials.
    pub(crate) fn rights(&self, name: &str, password: &str) -> Option<Rights> {
        let added = self.added.iter().find(|(it, word, _)| it == name && word == password);
        let added = added.map(|(_, _, acl)| Rights::granted(Arc::clone(acl)));
        added.or_else(|| User::of(name, password).map(Rights::of))
    }

    /// A file of `/etc/config`, as it is on the flash.
    pub fn file(&self, name: &str) -> String {
        self.files.get(name).map(Package::text).unwrap_or_default()
    }

    /// Advances the clock by `by`.
    pub fn pass(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let until = self.pending.as_ref().map(|pending| pending.until);
            let next = self.follows.values().copied().chain(until).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next;
            if until == Some(next) {
                self.roll_back();
            }
            let due = self.follows.iter().filter(|(_, at)| **at <= next);
            for name in due.map(|(name, _)| *name).collect::<Vec<_>>() {
                self.follows.remove(name);
                self.run(name);
            }
        }
        self.now = end;
        let now = self.now;
        self.sessions.retain(|_, session| session.is_alive(now));
    }

    fn run(&mut self, name: &str) {
        let name = if name == FIREWALL_EARLY { "firewall" } else { name };
        let is_read = !self.is_deaf && !self.cut.contains(name);
        if let Some(file) = self.files.get(name).filter(|_| is_read) {
            self.running.insert(name.to_owned(), file.clone());
            if name == "firewall" {
                self.known = self.running["network"].clone();
                self.zones.extend(firewall::zones(file).map(str::to_owned));
            }
            if let Some(runs) = self.runs {
                runs(&self.running);
            }
        }
    }

    /// Changes a file as at the router's own console (`uci`, `uci commit`).
    pub fn edit<T>(&mut self, name: &str, edit: impl FnOnce(&mut Package) -> T) -> Option<T> {
        let package = self.files.get_mut(name)?;
        let done = edit(package);
        *package = package.clone().saved();
        self.look_anew();
        Some(done)
    }

    /// Makes its daemons apply the files at once, as `/etc/init.d/network restart` does.
    pub fn restart(&mut self) {
        for name in ["network", "firewall"] {
            self.run(name);
        }
    }

    /// Cuts the power and restores it: data in memory is lost, and a pending change becomes
    /// permanent.
    pub fn cut_power(&mut self) {
        self.kill_rpcd();
        self.follows.clear();
        for name in ["network", "firewall"] {
            self.run(name);
        }
    }

    /// Kills `rpcd`, which `procd` restarts.
    pub fn kill_rpcd(&mut self) {
        self.sessions.clear();
        self.pending = None;
    }

    /// Ends all sessions; a pending change stays pending.
    pub fn end_sessions(&mut self) {
        self.sessions.clear();
    }

    /// All state that a request can have written: files, staged changes, and whether a change is
    /// pending.
    pub(crate) fn written(&self) -> (Files, Vec<Staged>, bool) {
        let staged = self.sessions.values().map(|session| session.staged.clone());
        let staged = staged.filter(|staged| !staged.is_empty()).collect();
        (self.files.clone(), staged, self.is_pending())
    }

    /// Whether a change is pending.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// A file as `session` sees it: with its staged changes.
    pub(crate) fn view(&mut self, session: &str, name: &str) -> Option<&Package> {
        let file = self.files.get(name)?;
        let Session { staged, seen, .. } = self.sessions.get_mut(session)?;
        Some(seen.entry(name.to_owned()).or_insert_with(|| {
            let mut package = file.clone();
            staged.get(name).into_iter().flatten().for_each(|row| package.follow(row));
            package
        }))
    }

    /// Stages changes of a file.
    pub(crate) fn stage(&mut self, session: &str, name: &str, rows: Vec<Row>) {
        let Some(Session { staged, seen, .. }) = self.sessions.get_mut(session) else { return };
        if let Some(package) = seen.get_mut(name) {
            rows.iter().for_each(|row| package.follow(row));
        }
        if !rows.is_empty() {
            staged.entry(name.to_owned()).or_default().extend(rows);
        }
    }

    /// Invalidates the cached views after files or staged changes have changed.
    pub(crate) fn look_anew(&mut self) {
        self.sessions.values_mut().for_each(|session| session.seen.clear());
    }

    /// Writes the changes of these files that `session` has staged.
    pub(crate) fn write(&mut self, session: &str, names: &[String]) {
        for name in names {
            let Some(package) = self.view(session, name).cloned() else { continue };
            // The old file stays until the new one replaces it.
            self.put(name, package.saved(), None);
            if let Some(session) = self.sessions.get_mut(session) {
                session.staged.remove(name);
            }
            self.follow(name, FIREWALL_FOLLOWS);
        }
        self.look_anew();
    }

    /// Writes a file, or the part of it for which the flash has room in addition to all other
    /// files.
    fn put(&mut self, name: &str, package: Package, over: Option<&str>) {
        self.cut.remove(name);
        let text = package.text();
        let others = self.files.iter().filter(|(it, _)| Some(it.as_str()) != over);
        let used: usize = others.map(|(_, file)| file.text().len()).sum();
        let room = self.flash.map_or(text.len(), |flash| flash.saturating_sub(used));
        let package = match text.get(..room) {
            Some(begin) if begin.len() < text.len() => {
                if !begin.is_empty() && !begin.ends_with('\n') {
                    self.cut.insert(name.to_owned());
                }
                Package::read(begin)
            }
            _ => package,
        };
        self.files.insert(name.to_owned(), package);
    }

    fn follow(&mut self, name: &str, firewall: Duration) {
        if self.delay == 0 {
            self.run(name);
            // Interfaces may have been added or removed.
            if name == "network" {
                self.run("firewall");
            }
            return;
        }
        let due = |time: Duration| self.now + time * self.delay / 100;
        if name == "network" {
            self.follows.insert("network", due(NETWORK_FOLLOWS));
        }
        if ["network", "firewall"].contains(&name) {
            self.follows.insert("firewall", due(firewall));
        }
        if name == "firewall" && self.is_early {
            self.follows.insert(FIREWALL_EARLY, due(FIREWALL_BEGINS));
        }
    }

    /// Writes all changes that `session` has staged; they are undone after `timeout` unless they
    /// are confirmed.
    pub(crate) fn apply(&mut self, session: &str, timeout: Option<Duration>) {
        let Some(staged) = self.sessions.get(session).map(|it| it.staged.clone()) else { return };
        let before = self.files.clone();
        let mut names: Vec<String> = staged.keys().cloned().collect();
        if std::mem::take(&mut self.is_cut_between) {
            names.truncate(1);
            self.write(session, &names);
            self.cut_power();
            return;
        }
        self.write(session, &names);
        self.pending = timeout.map(|timeout| {
            let (session, until) = (session.to_owned(), self.now + timeout);
            Pending { session, until, before, staged }
        });
    }

    /// Undoes the pending change, which becomes staged again.
    pub(crate) fn roll_back(&mut self) {
        let Some(Pending { session, before, staged, .. }) = self.pending.take() else { return };
        for name in staged.keys() {
            if let Some(package) = before.get(name) {
                self.put(name, package.clone(), Some(name));
            }
            self.follow(name, FIREWALL_FOLLOWS_BACK);
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.staged = staged;
        }
        self.look_anew();
    }
}
