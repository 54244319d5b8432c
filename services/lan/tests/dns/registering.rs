//! The verb `register`: from a service's socket to a DNS answer.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use octet_as_pid_1::{connect_as, open_to_all, unprivileged, wait_until};
use octet_lan::daemon::SharedStatus;
use octet_lan::dns::zones::MAX_OF_ONE;
use octet_lan::name_registration::NameRegistry;
use octet_lan::serve::{CommandSenders, serve};
use octet_node::control::{CallError, Client as Caller, FailureCode, UnitName};
use octet_node::names::{NamesUpdate, REGISTER, ServiceNames, register};
use octet_node::{Callers, PID_1};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc::channel;

use crate::client::Client;
use crate::host::{Host, settings};

/// A resolver with the control socket for the unit `cache`.
struct Lan {
    _folder: TempDir,
    socket: PathBuf,
    host: Arc<Host>,
}

impl Lan {
    fn new(unit_of: fn(u32) -> Option<UnitName>, callers: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("lan.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        open_to_all(&socket).unwrap();
        let host = Arc::new(Host::new(settings(), &[]));
        let (names, mut asked) = channel(1);
        let to = CommandSenders { config: channel(1).0, names };
        let callers = Callers::parse(callers).unwrap();
        thread::spawn(move || serve(&listener, &callers, unit_of, &SharedStatus::default(), to));
        let (has, registering) = (Arc::clone(&host), Arc::new(Mutex::new(NameRegistry::default())));
        thread::spawn(move || {
            while let Some(asked) = asked.blocking_recv() {
                let registering = Arc::clone(&registering);
                has.with(move |dns| registering.lock().unwrap().handle(asked, Some(dns)));
            }
        });
        Self { _folder: folder, socket, host }
    }

    fn of_cache() -> Self {
        Self::new(|_| "cache".parse().ok(), &format!("{}={REGISTER}", unprivileged()))
    }

    fn service(&self) -> Caller<UnixStream> {
        Caller::new(connect_as(unprivileged(), &self.socket).unwrap())
    }

    /// A connection, once an ended one has made room for it.
    fn service_with_room(&self) -> Caller<UnixStream> {
        let mut caller = self.service();
        wait_until("there is room", || {
            caller.describe().is_ok() || {
                caller = self.service();
                false
            }
        });
        caller
    }

    /// The addresses in the answer about `name`.
    fn tells(&self, name: &str) -> Vec<String> {
        Client::new("127.0.0.1", self.host.address).address(name)
    }

    /// Waits until `name` does not exist any more: the end of a connection is noticed with a delay.
    fn takes_back(&self, name: &str) {
        wait_until("nobody is told it", || self.tells(name).is_empty());
    }
}

fn names(of: &[&str]) -> ServiceNames {
    of.iter().map(|name| ((*name).to_owned(), vec!["10.20.3.2".parse().unwrap()])).collect()
}

/// Registers `names`, and leaves the connection open.
fn call_register(
    caller: &mut Caller<UnixStream>,
    names: &ServiceNames,
) -> Result<Value, CallError> {
    let args = Map::from_iter([("names".to_owned(), json!(names).to_string().into())]);
    let mut given = Value::Null;
    let ended = caller.call_each(REGISTER, args, |item| {
        given = item.clone();
        false
    });
    ended.map(|_| given)
}

fn refused(registered: Result<Value, CallError>) -> (FailureCode, String) {
    match registered {
        Err(CallError::Failure(failure)) => (failure.code, failure.message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_hang_on_the_connection() {
    let lan = Lan::of_cache();
    let mut first = lan.service();
    let given = call_register(&mut first, &names(&["cache.octet", "a.cache.octet"])).unwrap();
    assert_eq!(given, json!({"names": 2}));
    assert_eq!(lan.tells("cache.octet."), ["10.20.3.2"]);
    let shown = lan.host.with(|dns| json!(dns.registered()));
    assert_eq!(
        shown[0],
        json!({"unit": "cache", "name": "a.cache.octet.", "addresses": ["10.20.3.2"]})
    );
    // A second connection replaces all names; then the end of the first one removes nothing.
    let mut second = lan.service();
    call_register(&mut second, &names(&["b.cache.octet"])).unwrap();
    assert_eq!(lan.tells("cache.octet."), [""; 0]);
    let (code, message) = refused(second.call("describe", Map::new()));
    assert_eq!((code, &message[..]), (FailureCode::Busy, "names hang on this connection"));
    drop(first);
    let mut third = lan.service_with_room();
    assert_eq!(lan.tells("b.cache.octet."), ["10.20.3.2"]);
    call_register(&mut third, &names(&["b.cache.octet"])).unwrap();
    drop((second, third));
    lan.takes_back("b.cache.octet.");
}

#[test]
fn what_is_not_the_units_is_refused_and_takes_nothing_away() {
    let lan = Lan::of_cache();
    let mut service = lan.service();
    let address: IpAddr = "10.20.3.2".parse().unwrap();
    let many = |count| -> ServiceNames {
        (0..count).map(|number| (format!("n{number}.cache.octet"), vec![address])).collect()
    };
    let mut holder = lan.service();
    call_register(&mut holder, &many(MAX_OF_ONE)).unwrap();
    let crowd = BTreeMap::from([("cache.octet".to_owned(), vec![address; 17])]);
    let wrong = [
        names(&["cache.octet", "gate.octet"]),
        names(&["octet"]),
        names(&["board-3.octet.internal"]),
        names(&["a b.cache.octet"]),
        many(MAX_OF_ONE + 1),
        crowd,
    ];
    for names in wrong {
        let (code, message) = refused(call_register(&mut service, &names));
        assert_eq!(code, FailureCode::BadArgument, "{names:?}: {message}");
        assert_eq!(lan.tells("n7.cache.octet."), ["10.20.3.2"]);
        assert_eq!(lan.tells("gate.octet."), [""; 0]);
    }
    let args = Map::from_iter([("names".to_owned(), "[]".into())]);
    assert_eq!(refused(service.call(REGISTER, args)).0, FailureCode::BadArgument);
    // The same connection can try again.
    call_register(&mut service, &names(&["cache.octet"])).unwrap();
    assert_eq!(lan.tells("cache.octet."), ["10.20.3.2"]);
    assert_eq!(lan.tells("n7.cache.octet."), [""; 0]);
}

#[test]
fn only_services_that_may() {
    let may = Lan::of_cache();
    call_register(&mut may.service(), &names(&["cache.octet"])).unwrap();
    // A caller that is only permitted another verb.
    let other = Lan::new(|_| "cache".parse().ok(), &format!("{}=show", unprivileged()));
    let (code, _) = refused(call_register(&mut other.service(), &names(&["cache.octet"])));
    assert_eq!(code, FailureCode::Denied);
    // A caller that is no unit's user.
    let nobody = Lan::new(|_| None, &format!("{}={REGISTER}", unprivileged()));
    let (code, message) = refused(call_register(&mut nobody.service(), &names(&["cache.octet"])));
    assert_eq!(code, FailureCode::Denied);
    assert!(message.contains("is not a service"), "{message}");
    assert_eq!(octet_node::unit_of(112), "cache".parse().ok());
    assert_eq!((octet_node::unit_of(PID_1), octet_node::unit_of(65534)), (None, None));
}

#[test]
fn as_services_do() {
    let lan = Lan::of_cache();
    let (sender, news) = std::sync::mpsc::channel();
    let tell = move |it| drop(sender.send(it));
    let kept = register(lan.socket.clone(), names(&["cache.octet"]), tell).unwrap();
    assert!(matches!(news.recv().unwrap(), NamesUpdate::Told));
    assert_eq!(lan.tells("cache.octet."), ["10.20.3.2"]);
    for round in ["one.cache.octet", "two.cache.octet", "three.cache.octet"] {
        kept.set(names(&[round]));
        // The previous connection may still have to end.
        while !matches!(news.recv().unwrap(), NamesUpdate::Told) {}
        assert_eq!(lan.tells(&format!("{round}.")), ["10.20.3.2"]);
    }
    assert_eq!(lan.tells("cache.octet."), [""; 0]);
    drop(kept);
    lan.takes_back("three.cache.octet.");
}

/// The environment variable with lan's socket, in the process that acts as the service.
const SOCKET: &str = "OCTET_TEST_SOCKET";

#[test]
fn a_service_that_is_killed_has_no_names() {
    let lan = Lan::of_cache();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "registering::service"]).env(SOCKET, &lan.socket);
    let mut service = command.spawn().unwrap();
    wait_until("it has its name", || {
        assert!(service.try_wait().unwrap().is_none(), "the service has ended");
        !lan.tells("cache.octet.").is_empty()
    });
    service.kill().unwrap();
    service.wait().unwrap();
    lan.takes_back("cache.octet.");
}

/// Acts as the service if the process was started for that; otherwise it tests nothing.
#[test]
fn service() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let _kept = register(socket.into(), names(&["cache.octet"]), drop).unwrap();
    loop {
        thread::park();
    }
}
