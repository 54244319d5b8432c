//! Owners wait at their mailbox until a message is there; they leave room for others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use octet_as_pid_1::wait_until;
use octet_messages::backup::Backup;
use octet_messages::courier::{Courier, Wire};
use octet_messages::mailbox_address::MailboxAddress;
use octet_messages::person::{Person, PersonEvent};
use octet_messages::quic::{MailboxClient, now};
use octet_messages::request::{MailboxRefusal, MailboxReply, MailboxRequest, SignedRequest};
use octet_messages::store::PersonStore;
use octet_messenger::mailbox::Mailbox;
use octet_messenger::quic::{self, ServerLimits};
use octet_node::control::PublicKey;
use octet_node::key::{PrivateKey, random};
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::reached::served;
use crate::{TIMEOUT, person};

/// No test waits this long.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// A mailbox server in this process.
struct Server {
    folder: TempDir,
    mailbox: Arc<Mutex<Mailbox>>,
    place: MailboxAddress,
}

impl Server {
    fn start(limits: ServerLimits) -> Self {
        let (folder, key) = (tempfile::tempdir().unwrap(), PrivateKey::generate().unwrap());
        let served = served(&folder, &key);
        let mailbox = Arc::clone(&served.mailbox);
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().unwrap();
        let endpoint = runtime.block_on(quic::open(key.seed(), &[([127, 0, 0, 1], 0).into()]));
        let endpoint = endpoint.unwrap();
        let place = MailboxAddress { mailbox: key.public(), addresses: endpoint.bound_sockets() };
        // It serves until this process ends.
        std::thread::spawn(move || runtime.block_on(quic::serve(endpoint, served, limits)));
        Self { folder, mailbox, place }
    }

    /// An owner of a mailbox, who has published keys.
    fn owner(&self, name: &str) -> Owner {
        let mut courier = person(&self.folder.path().join(name), &self.place);
        self.mailbox.lock().unwrap().admit(&courier.person().name()).unwrap();
        assert!(courier.deliver(now()).unwrap().is_empty());
        Owner { courier, place: self.place.clone() }
    }
}

struct Owner {
    courier: Courier<MailboxClient>,
    place: MailboxAddress,
}

impl Owner {
    /// Begins to wait, on a connection of its own.
    fn begin(&mut self) {
        let Self { courier, place } = self;
        courier.wire().disconnect(place);
        let request = courier.sign_as_owner(place, MailboxRequest::Wait).unwrap();
        courier.wire().begin_wait(place, request).unwrap();
    }

    /// The same, and is not answered.
    fn wait(&mut self) {
        self.begin();
        let courier = &mut self.courier;
        // A request is sent while the client waits for something.
        if let Some(waited) = courier.wire().next_wait(Duration::from_millis(100)) {
            panic!("answered at once: {:?}", courier.wire().end_wait(waited));
        }
    }

    /// The refusal of another wait.
    fn is_refused(&mut self) {
        let name = self.courier.person().name();
        assert_eq!(self.refusal_as(name), MailboxRefusal::TooManyWaiting);
    }

    /// The refusal of a wait for the messages of `name`.
    fn refusal_as(&mut self, name: PublicKey) -> MailboxRefusal {
        let Self { courier, place } = self;
        courier.wire().disconnect(place);
        let mut request = courier.sign_as_owner(place, MailboxRequest::Wait).unwrap();
        if let SignedRequest::Owner(owned) = &mut request {
            owned.name = *name.as_bytes();
        }
        let answer = courier.wire().request(place, &request).unwrap();
        courier.wire().disconnect_all();
        let MailboxReply::Refused(refusal) = answer else { panic!("{answer:?}") };
        refusal
    }

    /// The answer to the next wait that ends.
    fn answer(&mut self) -> MailboxReply {
        let waited = self.courier.wire().next_wait(TIMEOUT).expect("late: it still waits");
        let answer = self.courier.wire().end_wait(waited).unwrap();
        self.courier.wire().disconnect_all();
        answer
    }

    /// How many messages the next wait ends with.
    fn count(&mut self) -> usize {
        match self.answer() {
            MailboxReply::Letters(found) => found.letters.len(),
            answer => panic!("{answer:?}"),
        }
    }

    fn writes(&mut self, to: &Self) {
        let (invite, name) = (to.courier.person().invite(), to.courier.person().name());
        self.courier.apply(PersonEvent::Add(invite, "other".to_owned()), now()).unwrap();
        self.courier.apply(PersonEvent::Write(name, "hello".to_owned()), now()).unwrap();
        assert!(self.courier.deliver(now()).unwrap().is_empty());
        self.courier.wire().disconnect_all();
    }
}

#[test]
fn half_of_all_places_are_for_those_who_wait() {
    let few = ServerLimits { max_wait: MAX_WAIT, all: 6, ..ServerLimits::default() };
    let few_of_one = ServerLimits { max_wait: MAX_WAIT, per_address: 6, ..ServerLimits::default() };
    for limits in [few, few_of_one] {
        let server = Server::start(limits);
        let [mut anna, mut ben, mut carl] = ["anna", "ben", "carl"].map(|name| server.owner(name));
        ben.wait();
        ben.wait();
        // There is a third place, but not for him.
        ben.is_refused();
        // Who is not the owner takes no place, and does not learn whether there is one.
        assert_eq!(carl.refusal_as(ben.courier.person().name()), MailboxRefusal::Forged);
        anna.wait();
        carl.is_refused();
        // Others leave messages meanwhile, and whoever waits is told.
        carl.writes(&ben);
        assert_eq!([ben.count(), ben.count()], [1, 1]);
        // Their places are free again.
        carl.wait();
        ben.writes(&carl);
        assert_eq!(carl.count(), 1);
        carl.writes(&anna);
        assert_eq!(anna.count(), 1);
    }
}

#[test]
fn who_has_gone_has_no_place() {
    let server =
        Server::start(ServerLimits { max_wait: MAX_WAIT, all: 4, ..ServerLimits::default() });
    let [mut anna, mut ben] = ["anna", "ben"].map(|name| server.owner(name));
    ben.wait();
    ben.wait();
    anna.is_refused();
    drop(ben);
    wait_until("the place is free", || {
        let Owner { courier, place } = &mut anna;
        courier.wire().disconnect(place);
        let Ok(request) = courier.sign_as_owner(place, MailboxRequest::Wait) else { return false };
        courier.wire().begin_wait(place, request).unwrap();
        courier.wire().next_wait(Duration::from_millis(100)).is_none()
    });
}

#[test]
fn nothing_is_an_answer_too() {
    let limits = ServerLimits { max_wait: Duration::from_secs(1), ..ServerLimits::default() };
    let server = Server::start(limits);
    let mut ben = server.owner("ben");
    ben.begin();
    assert_eq!(ben.count(), 0);
}

/// A copy that was restored from a backup takes the mailbox over: the one before is refused, also
/// if it waits already.
#[test]
fn a_restored_copy_ends_the_wait_of_the_one_before() {
    let server = Server::start(ServerLimits { max_wait: MAX_WAIT, ..ServerLimits::default() });
    let [mut anna, mut ben] = ["anna", "ben"].map(|name| server.owner(name));
    ben.wait();
    let backup = Backup::from_bytes(&ben.courier.person().backup().to_bytes()).unwrap();
    let (_, rows) = Person::restore(backup, random().unwrap(), now() + 1).unwrap();
    let folder = server.folder.path().join("restored");
    std::fs::create_dir(&folder).unwrap();
    let store = PersonStore::create(&folder, [1; 32]).unwrap();
    store.write(&rows).unwrap();
    let courier = Courier::new(store, MailboxClient::new().unwrap()).unwrap();
    let mut restored = Owner { courier, place: server.place.clone() };
    assert!(restored.courier.deliver(now()).unwrap().is_empty());
    restored.wait();
    anna.writes(&restored);
    assert_eq!(restored.count(), 1);
    assert_eq!(ben.answer(), MailboxReply::Refused(MailboxRefusal::Forged));
}
