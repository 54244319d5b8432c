//! Mailboxes and people in one process. Both can be killed: only the data on disk at that moment
//! remains.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use octet_messages::backup::Backup;
use octet_messages::courier::{self, Courier, CourierError, MailboxUnreachable, Wire};
use octet_messages::history::HistoryEntry;
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::person::{NewIdentity, Person, PersonEvent};
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_messages::store::PersonStore;
use octet_messenger::mailbox::{self, Mailbox, MailboxLimits, Visit};
use octet_node::control::PublicKey;
use octet_node::key::{PrivateKey, random};
use octet_node::limits::Rate;
use tempfile::TempDir;

/// A rate that the tests do not reach.
const ALWAYS: Rate = Rate { burst: u32::MAX, interval: Duration::from_secs(1) };

/// Limits that the tests do not reach.
pub const ENDLESS: MailboxLimits = MailboxLimits {
    people: 100,
    letters: 2000,
    bytes: 64 << 20,
    all_bytes: 64 << 20,
    lifetime: 1000,
    keys_of: ALWAYS,
    claims: ALWAYS,
    deposits: ALWAYS,
    sources: 100,
};

/// A folder in memory if possible: a kill copies the files, and need not wait for a disk.
pub fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// A mailbox and its file.
pub struct Site {
    folder: TempDir,
    own: PublicKey,
    limits: MailboxLimits,
    mailbox: Option<Mailbox>,
    /// The number of starts: a visit ends with the process.
    pub started: usize,
    /// All messages on the wire, in both directions.
    pub heard: Vec<Vec<u8>>,
    /// The next kill: the stage, and how many passes of that stage precede it.
    pub cut: Option<(mailbox::RequestStage, usize)>,
    /// For each visit, whether it made requests as an owner and as an anonymous client.
    pub visits: Vec<[bool; 2]>,
    pub is_off: bool,
    pub now: u64,
}

/// A mailbox that several people use.
#[derive(Clone)]
pub struct Box(pub Rc<RefCell<Site>>);

impl Box {
    pub fn new(limits: MailboxLimits) -> Self {
        let own = PrivateKey::generate().unwrap().public();
        let site = Site {
            folder: folder(),
            own,
            limits,
            mailbox: None,
            started: 0,
            heard: vec![],
            cut: None,
            visits: vec![],
            is_off: false,
            now: 100_000,
        };
        let made = Self(Rc::new(RefCell::new(site)));
        made.0.borrow_mut().start();
        made
    }

    pub fn place(&self) -> MailboxAddress {
        let own = self.0.borrow().own;
        MailboxAddress { mailbox: own, addresses: vec![(Ipv4Addr::LOCALHOST, 4434).into()] }
    }

    pub fn now(&self) -> u64 {
        self.0.borrow().now
    }

    /// Makes it unreachable, or reachable again.
    pub fn is_off(&self, is_off: bool) {
        self.0.borrow_mut().is_off = is_off;
    }

    /// Accesses the mailbox directly.
    pub fn with<T>(&self, act: impl FnOnce(&mut Mailbox) -> T) -> T {
        act(self.0.borrow_mut().mailbox.as_mut().unwrap())
    }

    /// The bytes of its file.
    pub fn file(&self) -> Vec<u8> {
        std::fs::read(self.0.borrow().path()).unwrap()
    }
}

impl Site {
    fn path(&self) -> PathBuf {
        self.folder.path().join("letters")
    }

    fn start(&mut self) {
        self.mailbox = Some(Mailbox::open(&self.path(), self.own, self.limits).unwrap());
        self.started += 1;
    }

    pub fn ask(&mut self, visit: &mut Visit, request: &[u8]) -> Option<MailboxReply> {
        self.heard.push(request.to_vec());
        let (path, copy) = (self.path(), self.folder.path().join("cut"));
        let mut cut = self.cut;
        let goes_on = |stage| match &mut cut {
            Some((at, 0)) if *at == stage => {
                std::fs::copy(&path, &copy).unwrap();
                false
            }
            Some((at, times)) if *at == stage => {
                *times -= 1;
                true
            }
            _ => true,
        };
        let request = SignedRequest::from_bytes(request).unwrap();
        let mailbox = self.mailbox.as_mut().unwrap();
        let answer = mailbox.handle_until(visit, request, self.now, goes_on);
        self.cut = cut;
        if answer.is_none() {
            // The changes after the kill are discarded.
            self.mailbox = None;
            std::fs::rename(&copy, &path).unwrap();
            self.start();
            self.cut = None;
        }
        let answer = answer?;
        let bytes = answer.to_bytes();
        self.heard.push(bytes.clone());
        MailboxReply::from_bytes(&bytes)
    }
}

/// The transport of one person.
pub struct Memory {
    boxes: BTreeMap<PublicKey, Box>,
    /// For each mailbox: the process that the visit began with, its index among all visits, and the
    /// visit.
    visits: BTreeMap<PublicKey, (usize, usize, Visit)>,
}

impl Wire for Memory {
    fn request(
        &mut self,
        place: &MailboxAddress,
        request: &SignedRequest,
    ) -> Result<MailboxReply, MailboxUnreachable> {
        let unreached = || MailboxUnreachable(place.to_string());
        let mut site = self.boxes.get(&place.mailbox).ok_or_else(unreached)?.0.borrow_mut();
        if site.is_off {
            return Err(unreached());
        }
        let mut visit = self.visits.remove(&place.mailbox).unwrap_or_else(|| {
            site.visits.push([false; 2]);
            (site.started, site.visits.len() - 1, Visit::new(Ipv4Addr::LOCALHOST.into()))
        });
        if visit.0 != site.started {
            return Err(unreached());
        }
        match request {
            SignedRequest::Nonce | SignedRequest::Run(_) => {}
            SignedRequest::Owner(_) => site.visits[visit.1][0] = true,
            SignedRequest::Claim(_) | SignedRequest::Deposit(..) => site.visits[visit.1][1] = true,
        }
        let answer = site.ask(&mut visit.2, &request.to_bytes()).ok_or_else(unreached)?;
        self.visits.insert(place.mailbox, visit);
        Ok(answer)
    }

    fn disconnect(&mut self, place: &MailboxAddress) {
        self.visits.remove(&place.mailbox);
    }
}

/// A person with their files.
pub struct Party {
    pub folder: TempDir,
    key: [u8; 32],
    boxes: Vec<Box>,
    pub name: PublicKey,
    /// The seed of the name key.
    pub seed: [u8; 32],
    courier: Option<Courier<Memory>>,
}

impl Party {
    /// A person with a mailbox at the first of `boxes`, who reaches all of them.
    pub fn new(boxes: &[&Box]) -> Self {
        Self::with(1, boxes)
    }

    /// A person with mailboxes at the first `homes` of `boxes`.
    pub fn with(homes: usize, boxes: &[&Box]) -> Self {
        let boxes: Vec<Box> = boxes.iter().copied().cloned().collect();
        let (folder, key, seed) = (folder(), random().unwrap(), random().unwrap());
        let fresh = NewIdentity { name: seed, key: random().unwrap(), seal: random().unwrap() };
        let places = boxes[..homes].iter().map(Box::place).collect();
        let (person, rows) = Person::new(fresh, places, boxes[0].now()).unwrap();
        PersonStore::create(folder.path(), key).unwrap().write(&rows).unwrap();
        let name = person.name();
        for home in &boxes[..homes] {
            home.with(|mailbox| mailbox.admit(&name)).unwrap();
        }
        Self { folder, key, boxes, name, seed, courier: None }
    }

    /// The same person on another machine, restored from a backup.
    pub fn restore(&self, backup: &[u8]) -> Self {
        let (folder, key) = (folder(), random().unwrap());
        let backup = Backup::from_bytes(backup).unwrap();
        let (person, rows) = Person::restore(backup, random().unwrap(), self.now()).unwrap();
        assert_eq!(person.name(), self.name);
        PersonStore::create(folder.path(), key).unwrap().write(&rows).unwrap();
        let (boxes, name, seed) = (self.boxes.clone(), self.name, self.seed);
        Self { folder, key, boxes, name, seed, courier: None }
    }

    pub fn backup(&mut self) -> Vec<u8> {
        self.courier().person().backup().to_bytes()
    }

    fn now(&self) -> u64 {
        self.boxes[0].now()
    }

    /// The key of the key ring, as derived from a passphrase.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Copies the key of the key ring of `other`.
    pub fn take_key(&mut self, other: &Self) {
        self.stop();
        (self.key, self.name) = (other.key, other.name);
    }

    fn start(&self) -> Courier<Memory> {
        let boxes = self.boxes.iter().map(|one| (one.place().mailbox, one.clone())).collect();
        let wire = Memory { boxes, visits: BTreeMap::new() };
        Courier::new(PersonStore::open(self.folder.path(), self.key).unwrap(), wire).unwrap()
    }

    /// The courier, which is started if it is not running.
    pub fn courier(&mut self) -> &mut Courier<Memory> {
        if self.courier.is_none() {
            self.courier = Some(self.start());
        }
        self.courier.as_mut().unwrap()
    }

    pub fn stop(&mut self) {
        self.courier = None;
    }

    /// Runs `act` in a process that is killed at the `times`th pass of `stage`. Returns whether it
    /// was killed.
    pub fn run_until(
        &mut self,
        stage: courier::CourierStage,
        mut times: usize,
        act: impl FnOnce(&mut Courier<Memory>, u64) -> Result<(), CourierError>,
    ) -> bool {
        let (folder, now) = (self.folder.path().to_owned(), self.now());
        let courier = self.courier.take().unwrap_or_else(|| self.start());
        let mut courier = courier.interruptible(move |at| {
            let is_here = at == stage && times == 0;
            times -= usize::from(at == stage && times > 0);
            if is_here {
                for file in ["rows", "keys"] {
                    std::fs::copy(folder.join(file), folder.join(format!("{file}.cut"))).unwrap();
                }
            }
            !is_here
        });
        let outcome = act(&mut courier, now);
        let is_cut = matches!(outcome, Err(CourierError::Cut(_)));
        if is_cut {
            drop(courier);
            for file in ["rows", "keys"] {
                let path = self.folder.path().join(file);
                std::fs::rename(self.folder.path().join(format!("{file}.cut")), path).unwrap();
            }
        } else {
            outcome.unwrap();
            self.courier = Some(courier.interruptible(|_| true));
        }
        is_cut
    }

    pub fn knows(&mut self, other: &mut Self, alias: &str) {
        let (invite, now) = (other.courier().person().invite(), self.now());
        self.courier().apply(PersonEvent::Add(invite, alias.to_owned()), now).unwrap();
    }

    pub fn write(&mut self, to: PublicKey, text: &str) {
        let now = self.now();
        self.courier().apply(PersonEvent::Write(to, text.to_owned()), now).unwrap();
    }

    /// Carries out all pending actions; an error of a mailbox fails the test.
    pub fn deliver(&mut self) {
        let now = self.now();
        let left = self.courier().deliver(now).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Carries out all pending actions that reachable mailboxes allow.
    pub fn deliver_where_it_can(&mut self) {
        let now = self.now();
        for error in self.courier().deliver(now).unwrap() {
            assert!(matches!(error, CourierError::Unreached(_)), "{error}");
        }
    }

    /// Fetches the messages of all mailboxes, and acknowledges them.
    pub fn fetch(&mut self) {
        let now = self.now();
        let left = self.courier().fetch(now).unwrap();
        assert!(left.is_empty(), "{left:?}");
        self.deliver();
    }

    /// Fetches the messages of the reachable mailboxes.
    pub fn fetch_where_it_can(&mut self) {
        let now = self.now();
        for error in self.courier().fetch(now).unwrap() {
            assert!(matches!(error, CourierError::Unreached(_)), "{error}");
        }
        self.deliver_where_it_can();
    }

    /// Reads an envelope that was taken from elsewhere.
    pub fn read(&mut self, envelope: &[u8]) {
        let (mailbox, now) = (self.boxes[0].place().mailbox, self.now());
        let event = PersonEvent::Fetched(mailbox, vec![envelope.to_vec()], 50);
        self.courier().apply(event, now).unwrap();
    }

    pub fn history(&mut self) -> Vec<HistoryEntry> {
        self.history_from(0)
    }

    pub fn history_from(&mut self, start: u64) -> Vec<HistoryEntry> {
        let courier = self.courier();
        let (end, _) = courier.person().history();
        courier.store().history(start, end).unwrap()
    }

    /// The texts of `from`, in the order in which they were shown.
    pub fn received(&mut self, from: PublicKey) -> Vec<String> {
        let lines = self.history().into_iter();
        lines.filter(|line| line.received && line.peer == from).map(|line| line.text).collect()
    }

    /// The envelopes that were deposited at a mailbox, from the `start`th message on the wire on.
    pub fn envelopes(at: &Box, start: usize) -> Vec<Vec<u8>> {
        let site = at.0.borrow();
        let requests =
            site.heard[start..].iter().filter_map(|bytes| SignedRequest::from_bytes(bytes));
        let envelopes = requests.filter_map(|request| match request {
            SignedRequest::Deposit(_, envelope) => Some(envelope),
            _ => None,
        });
        envelopes.collect()
    }

    pub fn last_envelope(at: &Box) -> Vec<u8> {
        Self::envelopes(at, 0).pop().unwrap()
    }
}
