//! Mailboxes and people in one process. Both can be killed: what is on disk at that moment is all that is left.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use octet_messages::backup::Backup;
use octet_messages::courier::{self, Courier, CourierError, Unreached, Wire};
use octet_messages::history::HistoryEntry;
use octet_messages::person::{NewIdentity, Person, PersonEvent};
use octet_messages::place::MailboxAddress;
use octet_messages::request::{MailboxReply, SignedRequest};
use octet_messages::store::PersonStore;
use octet_messenger::mailbox::{self, Mailbox, MailboxLimits, Visit};
use octet_node::control::PublicKey;
use octet_node::key::{PrivateKey, random};
use octet_node::limits::Rate;
use tempfile::TempDir;

/// Nothing is too often at it.
const ALWAYS: Rate = Rate { burst: u32::MAX, interval: Duration::from_secs(1) };

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

/// A folder in memory where there is one: a cut is a copy here, and waits for no disk.
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
    /// How often it was started: a visit ends with the process.
    pub started: usize,
    /// All that went over the wire, both ways.
    pub heard: Vec<Vec<u8>>,
    /// Where it is killed next: the how-manieth time that it is at this stage.
    pub cut: Option<(mailbox::RequestStage, usize)>,
    /// What was asked in each visit: as its owner, or as nobody.
    pub visits: Vec<[bool; 2]>,
    pub is_off: bool,
    pub now: u64,
}

/// A mailbox that several reach.
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

    /// Has it reached by nobody, or by everybody again.
    pub fn is_off(&self, is_off: bool) {
        self.0.borrow_mut().is_off = is_off;
    }

    /// Does something with the mailbox itself.
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
            // What the process did at its end counts for nothing.
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

/// The wire of one person.
pub struct Memory {
    boxes: BTreeMap<PublicKey, Box>,
    /// In which process of the mailbox each began, and the how-manieth of all it is.
    visits: BTreeMap<PublicKey, (usize, usize, Visit)>,
}

impl Wire for Memory {
    fn ask(
        &mut self,
        place: &MailboxAddress,
        request: &SignedRequest,
    ) -> Result<MailboxReply, Unreached> {
        let unreached = || Unreached(place.to_string());
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

    fn part(&mut self, place: &MailboxAddress) {
        self.visits.remove(&place.mailbox);
    }
}

/// A person and the files.
pub struct Party {
    pub folder: TempDir,
    key: [u8; 32],
    boxes: Vec<Box>,
    pub name: PublicKey,
    /// The seed of the key that is the name.
    pub seed: [u8; 32],
    courier: Option<Courier<Memory>>,
}

impl Party {
    /// Somebody whose mailbox is the first of `boxes`, and who reaches all of them.
    pub fn new(boxes: &[&Box]) -> Self {
        Self::with(1, boxes)
    }

    /// Somebody who has a mailbox at the first `homes` of `boxes`.
    pub fn with(homes: usize, boxes: &[&Box]) -> Self {
        let boxes: Vec<Box> = boxes.iter().copied().cloned().collect();
        let (folder, key, seed) = (folder(), random().unwrap(), random().unwrap());
        let fresh = NewIdentity { name: seed, key: random().unwrap(), seal: random().unwrap() };
        let places = boxes[..homes].iter().map(Box::place).collect();
        let (person, rows) = Person::new(fresh, places, boxes[0].now()).unwrap();
        PersonStore::create(folder.path(), key).unwrap().keep(&rows).unwrap();
        let name = person.name();
        for home in &boxes[..homes] {
            home.with(|mailbox| mailbox.admit(&name)).unwrap();
        }
        Self { folder, key, boxes, name, seed, courier: None }
    }

    /// The person of a back-up, on another machine.
    pub fn restore(&self, backup: &[u8]) -> Self {
        let (folder, key) = (folder(), random().unwrap());
        let backup = Backup::from_bytes(backup).unwrap();
        let (person, rows) = Person::restore(backup, random().unwrap(), self.now()).unwrap();
        assert_eq!(person.name(), self.name);
        PersonStore::create(folder.path(), key).unwrap().keep(&rows).unwrap();
        let (boxes, name, seed) = (self.boxes.clone(), self.name, self.seed);
        Self { folder, key, boxes, name, seed, courier: None }
    }

    pub fn backup(&mut self) -> Vec<u8> {
        self.courier().person().backup().to_bytes()
    }

    fn now(&self) -> u64 {
        self.boxes[0].now()
    }

    /// The key of the keys: what a passphrase gives.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Has what opens the files of `other`.
    pub fn take_key(&mut self, other: &Self) {
        self.stop();
        (self.key, self.name) = (other.key, other.name);
    }

    fn start(&self) -> Courier<Memory> {
        let boxes = self.boxes.iter().map(|one| (one.place().mailbox, one.clone())).collect();
        let wire = Memory { boxes, visits: BTreeMap::new() };
        Courier::new(PersonStore::open(self.folder.path(), self.key).unwrap(), wire).unwrap()
    }

    /// The courier, which is started if there is none.
    pub fn courier(&mut self) -> &mut Courier<Memory> {
        if self.courier.is_none() {
            self.courier = Some(self.start());
        }
        self.courier.as_mut().unwrap()
    }

    pub fn stop(&mut self) {
        self.courier = None;
    }

    /// Runs `act` in a process that is killed the `times`th time that it is at `stage`. Whether it was.
    pub fn run_until(
        &mut self,
        stage: courier::CourierStage,
        mut times: usize,
        act: impl FnOnce(&mut Courier<Memory>, u64) -> Result<(), CourierError>,
    ) -> bool {
        let (folder, now) = (self.folder.path().to_owned(), self.now());
        let courier = self.courier.take().unwrap_or_else(|| self.start());
        let mut courier = courier.until(move |at| {
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
            self.courier = Some(courier.until(|_| true));
        }
        is_cut
    }

    pub fn knows(&mut self, other: &mut Self, alias: &str) {
        let (invite, now) = (other.courier().person().invite(), self.now());
        self.courier().tell(PersonEvent::Add(invite, alias.to_owned()), now).unwrap();
    }

    pub fn write(&mut self, to: PublicKey, text: &str) {
        let now = self.now();
        self.courier().tell(PersonEvent::Write(to, text.to_owned()), now).unwrap();
    }

    /// Does all that is to be done; whatever a mailbox refuses is an error.
    pub fn deliver(&mut self) {
        let now = self.now();
        let left = self.courier().deliver(now).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }

    /// The same, and whoever is off is left out.
    pub fn deliver_where_it_can(&mut self) {
        let now = self.now();
        for error in self.courier().deliver(now).unwrap() {
            assert!(matches!(error, CourierError::Unreached(_)), "{error}");
        }
    }

    /// Comes to the mailboxes, and says so.
    pub fn fetch(&mut self) {
        let now = self.now();
        let left = self.courier().fetch(now).unwrap();
        assert!(left.is_empty(), "{left:?}");
        self.deliver();
    }

    /// The same, and whoever is off is left out.
    pub fn fetch_where_it_can(&mut self) {
        let now = self.now();
        for error in self.courier().fetch(now).unwrap() {
            assert!(matches!(error, CourierError::Unreached(_)), "{error}");
        }
        self.deliver_where_it_can();
    }

    /// Has an envelope read that was taken from elsewhere.
    pub fn read(&mut self, envelope: &[u8]) {
        let (mailbox, now) = (self.boxes[0].place().mailbox, self.now());
        let event = PersonEvent::Fetched(mailbox, vec![envelope.to_vec()], 50);
        self.courier().tell(event, now).unwrap();
    }

    pub fn history(&mut self) -> Vec<HistoryEntry> {
        self.history_from(0)
    }

    pub fn history_from(&mut self, start: u64) -> Vec<HistoryEntry> {
        let courier = self.courier();
        let (end, _) = courier.person().history();
        courier.store().history(start, end).unwrap()
    }

    /// The texts that came from `from`, in the order in which they were shown.
    pub fn received(&mut self, from: PublicKey) -> Vec<String> {
        let lines = self.history().into_iter();
        lines.filter(|line| line.received && line.peer == from).map(|line| line.text).collect()
    }

    /// The envelopes that a mailbox was given, from the `start`th message on its wire on.
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
