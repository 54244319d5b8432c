//! The router: its files, who is logged in, what waits to be confirmed, and what its daemons run by now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::firewall;
use crate::session::{Rights, Session, User};
use crate::uci::{Package, Row};

/// Files of `/etc/config` as they come with OpenWrt.
const STOCK: [(&str, &str); 7] = [
    ("dhcp", include_str!("../testdata/dhcp")),
    ("firewall", include_str!("../testdata/firewall")),
    ("network", include_str!("../testdata/network")),
    ("rpcd", ""),
    ("system", include_str!("../testdata/system")),
    ("uhttpd", ""),
    ("wireless", include_str!("../testdata/wireless")),
];

/// How long it takes until `netifd` has read files that have changed, as it was recorded.
const NETWORK_FOLLOWS: Duration = Duration::from_secs(4);

/// The same for the rules of the firewall, which are made anew after that.
const FIREWALL_FOLLOWS: Duration = Duration::from_millis(22_500);

/// The same after a roll-back.
const FIREWALL_FOLLOWS_BACK: Duration = Duration::from_millis(11_500);

/// The rules are made once more before that, where [`Router::is_early`]: when the file is new, and `netifd` has read nothing yet.
const FIREWALL_BEGINS: Duration = Duration::from_secs(1);

/// What is to follow then.
const FIREWALL_EARLY: &str = "firewall, early";

/// The files, by their names.
pub type Files = BTreeMap<String, Package>;

/// What a session has staged, by files.
pub type Staged = BTreeMap<String, Vec<Row>>;

/// What somebody does with the router itself.
pub type Act = fn(&mut Router);

#[derive(Debug)]
pub struct Router {
    /// Since it was switched on.
    pub(crate) now: Duration,
    /// What a power cut leaves.
    pub(crate) files: Files,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) pending: Option<Pending>,
    /// What `netifd` and `fw4` run.
    pub(crate) running: Files,
    /// The interfaces that `fw4` has known when it has made its rules.
    pub(crate) known: Package,
    /// All zones that it has ever made a chain for: it empties chains, and takes none away.
    pub(crate) zones: BTreeSet<String>,
    follows: BTreeMap<&'static str, Duration>,
    /// The port that whoever asks is plugged into.
    pub port: String,
    /// Whether its daemons ever do what files say.
    pub is_deaf: bool,
    /// How long they take for it, in hundredths of what was recorded.
    pub delay: u32,
    /// Whether `fw4` does not wait for `netifd`: it makes its rules before that knows new interfaces, and again after it.
    pub is_early: bool,
    /// Whether the power is cut when the next apply has written the first of its files.
    pub is_cut_between: bool,
    /// A file that somebody has written so that UCI cannot parse it.
    pub unparsed: Option<&'static str>,
    /// How much its flash takes of all files of `/etc/config` together, in bytes, if that is not enough for anything.
    pub flash: Option<usize>,
    /// Files that end in the middle of a line, since the flash was full.
    pub(crate) cut: BTreeSet<String>,
    /// Logins besides those that it has: name, password and ACL.
    added: Vec<(String, String, Arc<Value>)>,
    /// What has what its daemons run by now come true, where there is something that it can come true on.
    pub runs: Option<fn(&Files)>,
    /// What somebody else does in the middle of a request: once, before an object of this name is called.
    pub meanwhile: Option<(&'static str, Act)>,
    pub(crate) logins: u64,
}

/// What waits to be confirmed.
#[derive(Debug)]
pub(crate) struct Pending {
    pub session: String,
    until: Duration,
    before: Files,
    staged: Staged,
}

impl Pending {
    /// What it would go back to is gone: it waits until its end, and then nothing is undone.
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
    /// As it comes, but with these files instead of its own; whoever asks is at port `lan8`.
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

    /// Adds a login that may do what `acl` says, a file as in `/usr/share/rpcd/acl.d/`.
    pub fn add_login(&mut self, name: &str, password: &str, acl: Value) {
        self.added.push((name.to_owned(), password.to_owned(), Arc::new(acl)));
    }

    /// `rpcd` starts again: all have to log in anew, by logins that are added from now on.
    pub fn restart_rpcd(&mut self) {
        self.kill_rpcd();
        self.added.clear();
    }

    /// What who logs in with these words may do.
    pub(crate) fn rights(&self, name: &str, password: &str) -> Option<Rights> {
        let added = self.added.iter().find(|(it, word, _)| it == name && word == password);
        let added = added.map(|(_, _, acl)| Rights::granted(Arc::clone(acl)));
        added.or_else(|| User::of(name, password).map(Rights::of))
    }

    /// A file of `/etc/config`, as it is on the flash.
    pub fn file(&self, name: &str) -> String {
        self.files.get(name).map(Package::text).unwrap_or_default()
    }

    /// Lets `by` pass.
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

    /// Changes a file as whoever is at the router's own console does (`uci`, `uci commit`).
    pub fn edit<T>(&mut self, name: &str, edit: impl FnOnce(&mut Package) -> T) -> Option<T> {
        let package = self.files.get_mut(name)?;
        let done = edit(package);
        *package = package.clone().saved();
        self.look_anew();
        Some(done)
    }

    /// Has its daemons run what its files say, at once, as `/etc/init.d/network restart` does.
    pub fn restart(&mut self) {
        for name in ["network", "firewall"] {
            self.run(name);
        }
    }

    /// The power is cut, and comes back: what was in memory is gone, what waits to be confirmed is in for good.
    pub fn cut_power(&mut self) {
        self.kill_rpcd();
        self.follows.clear();
        for name in ["network", "firewall"] {
            self.run(name);
        }
    }

    /// `rpcd` is killed, and started again by `procd`.
    pub fn kill_rpcd(&mut self) {
        self.sessions.clear();
        self.pending = None;
    }

    /// All sessions have ended; what waits to be confirmed does so still.
    pub fn end_sessions(&mut self) {
        self.sessions.clear();
    }

    /// All that somebody can have written: files, what is staged, and whether something waits to be confirmed.
    pub(crate) fn written(&self) -> (Files, Vec<Staged>, bool) {
        let staged = self.sessions.values().map(|session| session.staged.clone());
        let staged = staged.filter(|staged| !staged.is_empty()).collect();
        (self.files.clone(), staged, self.is_pending())
    }

    /// Whether something waits to be confirmed.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// What `session` sees of a file: what it has staged is in it.
    pub(crate) fn view(&mut self, session: &str, name: &str) -> Option<&Package> {
        let file = self.files.get(name)?;
        let Session { staged, seen, .. } = self.sessions.get_mut(session)?;
        Some(seen.entry(name.to_owned()).or_insert_with(|| {
            let mut package = file.clone();
            staged.get(name).into_iter().flatten().for_each(|row| package.follow(row));
            package
        }))
    }

    /// Stages rows for a file.
    pub(crate) fn stage(&mut self, session: &str, name: &str, rows: Vec<Row>) {
        let Some(Session { staged, seen, .. }) = self.sessions.get_mut(session) else { return };
        if let Some(package) = seen.get_mut(name) {
            rows.iter().for_each(|row| package.follow(row));
        }
        if !rows.is_empty() {
            staged.entry(name.to_owned()).or_default().extend(rows);
        }
    }

    /// Files or what is staged for them have changed.
    pub(crate) fn look_anew(&mut self) {
        self.sessions.values_mut().for_each(|session| session.seen.clear());
    }

    /// Writes what `session` has staged for these files.
    pub(crate) fn write(&mut self, session: &str, names: &[String]) {
        for name in names {
            let Some(package) = self.view(session, name).cloned() else { continue };
            // The old file is there until the new one takes its place.
            self.put(name, package.saved(), None);
            if let Some(session) = self.sessions.get_mut(session) {
                session.staged.remove(name);
            }
            self.follow(name, FIREWALL_FOLLOWS);
        }
        self.look_anew();
    }

    /// Writes a file, or as much of it as the flash takes beside all files but the one that is written over.
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
            // Interfaces have come or gone.
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

    /// Writes all that `session` has staged; it is undone after `timeout` unless it is confirmed.
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

    /// Undoes what waits to be confirmed; it is staged again.
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
