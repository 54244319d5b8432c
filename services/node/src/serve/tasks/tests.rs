use super::*;
use crate::serve::verbs::{file, integer, text};
use octet_as_pid_1::MemoryFile;
use octet_control::settings::{APPLY, CHECK};
use octet_control::{CallError, Client, DESCRIBE, FailureCode, Permission};
use serde_json::Map;
use std::cell::Cell;
use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::pin;
use std::task::Poll;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_blocking};

/// A generous timeout, so that a test fails instead of hanging, even on a slow machine.
const LONG: Duration = Duration::from_secs(180);

/// The maximum size of a file, in bytes.
const LONGEST: u64 = 70_000;

const LIMITS: ConnectionLimits = ConnectionLimits { all: 40, for_operators: 4, of_one: 40 };

/// The state of the tests' service.
#[derive(Default)]
struct State {
    number: watch::Sender<u64>,
    /// The number of clients that follow the number.
    following: watch::Sender<usize>,
}

fn verbs() -> Verbs<State> {
    let even = |number: u64| {
        let odd = || Failure::new(FailureCode::BadArgument, format!("{number} is odd"), "");
        number.is_multiple_of(2).then_some(number).ok_or_else(odd)
    };
    Verbs::default()
        .with(
            Verb::new("set", Permission::Operate, "Sets the number"),
            integer("to", "an even number").parse(even).and(text("why", "")),
            async |state: &State, call, (to, why)| {
                yield_now().await;
                state.number.send_replace(to);
                Ok(json!([to, why, call.verb]))
            },
        )
        .with(
            Verb::new("follow", Permission::Read, "Gives the number, and every other"),
            nothing(),
            follow,
        )
        .with(
            Verb::new("take", Permission::Operate, "Takes a file"),
            file("file", ""),
            async |_, call, _| Ok(json!(call.peer.read_file(call.id, LONGEST).await?.len())),
        )
        .with_settings(
            async |_| Ok(()),
            async |state| {
                let number = state.number.borrow().to_string();
                Err(Failure::new(FailureCode::Failed, number, ""))
            },
        )
}

async fn follow(state: &State, call: &mut Call<'_>, (): ()) -> Result<Value, Failure> {
    let mut number = state.number.subscribe();
    state.following.send_modify(|count| *count += 1);
    loop {
        let item = json!(*number.borrow_and_update());
        if call.peer.item(call.id, item).await.is_err() {
            break;
        }
        tokio::select! {
            _ = number.changed() => {}
            () = call.peer.gone() => break,
        }
    }
    state.following.send_modify(|count| *count -= 1);
    Ok(Value::Null)
}

/// Runs `test` with a service, and connects clients to it.
fn with_service<F: Future<Output = ()>>(test: impl FnOnce(Connect, Rc<State>) -> F) {
    run(async {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("socket");
        let listener = StdListener::bind(&path).unwrap();
        // The tests' user need not be root, which may call everything.
        let uid = rustix::process::geteuid().as_raw();
        let callers =
            Callers::parse(&format!("{uid}=set,follow,take,{CHECK},{APPLY},gone")).unwrap();
        let state = Rc::<State>::default();
        serve(listener, callers, LIMITS, verbs(), Rc::clone(&state)).unwrap();
        test(Connect(folder), state).await;
    });
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

struct Connect(TempDir);

impl Connect {
    fn connect(&self) -> Client<StdStream> {
        let client = Client::connect(&self.0.path().join("socket")).unwrap();
        client.stream().set_read_timeout(Some(LONG)).unwrap();
        client
    }

    /// The answer to a call on a connection of its own.
    async fn ask(&self, verb: &'static str, args: Value) -> Result<Value, Failure> {
        let mut client = self.connect();
        let args: Map<String, Value> = serde_json::from_value(args).unwrap();
        let answer = spawn_blocking(move || client.call(verb, args)).await.unwrap();
        answer.map_err(|error| match error {
            CallError::Failure(failure) => failure,
            error => panic!("{error}"),
        })
    }
}

#[test]
fn a_verb_is_answered_with_what_it_says_that_it_takes() {
    with_service(async |service, _| {
        let answer = service.ask("set", json!({ "to": 2, "why": "a" })).await;
        assert_eq!(answer.unwrap(), json!([2, "a", "set"]));
        assert_eq!(service.ask(CHECK, json!({})).await.unwrap(), Value::Null);
        assert_eq!(service.ask(APPLY, json!({})).await.unwrap_err().message, "2");
        for (verb, args, code) in [
            ("set", json!({ "to": 3, "why": "a" }), FailureCode::BadArgument),
            ("set", json!({ "to": 4 }), FailureCode::BadArgument),
            ("set", json!({ "to": "4", "why": "a" }), FailureCode::BadArgument),
            ("set", json!({ "to": 4, "why": "a", "who": "b" }), FailureCode::BadArgument),
            (CHECK, json!({ "who": "b" }), FailureCode::BadArgument),
            (DESCRIBE, json!({ "who": "b" }), FailureCode::BadArgument),
            ("gone", json!({}), FailureCode::NotFound),
        ] {
            let failure = service.ask(verb, args.clone()).await.unwrap_err();
            assert_eq!(failure.code, code, "{verb} {args}");
        }
        // None of them has changed anything.
        assert_eq!(service.ask(APPLY, json!({})).await.unwrap_err().message, "2");
        let list = service.ask(DESCRIBE, json!({})).await.unwrap();
        let list: Vec<Verb> = serde_json::from_value(list).unwrap();
        let names: Vec<&str> = list.iter().map(|verb| verb.name.as_str()).collect();
        assert_eq!(names, [DESCRIBE, "set", "follow", "take", CHECK, APPLY]);
    });
}

#[test]
fn files_come_whole_or_not_at_all() {
    with_service(async |service, _| {
        for (length, is_taken) in
            [(0, true), (1, true), (LONGEST, true), (LONGEST + 1, false), (3 * LONGEST, false)]
        {
            let mut client = service.connect();
            let sent = spawn_blocking(move || {
                let mut file = MemoryFile(vec![7; usize::try_from(length).unwrap()]);
                let args = json!({ "file": { "size": length } });
                let args = serde_json::from_value(args).unwrap();
                client.call_with("take", args, Some(&mut file), |_| true)
            });
            match sent.await.unwrap() {
                Ok(taken) => assert!(is_taken && taken == length, "{length}: {taken}"),
                Err(CallError::Failure(failure)) => {
                    assert!(!is_taken && failure.message.contains("longer than"), "{failure}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
}

/// A continuing answer blocks no other client, contains each change, and ends when its client disconnects.
#[test]
fn an_answer_goes_on_until_its_client_is_gone() {
    with_service(async |service, state| {
        let mut client = service.connect();
        let stream = client.stream().try_clone().unwrap();
        let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
        let followed = spawn_blocking(move || {
            client.call_each("follow", Map::new(), |item| {
                seen.send(item.clone()).unwrap();
                true
            })
        });
        assert_eq!(sees.recv().await.unwrap(), 0);
        for number in [2, 4] {
            service.ask("set", json!({ "to": number, "why": "" })).await.unwrap();
            assert_eq!(sees.recv().await.unwrap(), number);
        }
        // A further request on the same connection is refused, and the answer continues.
        let args = Map::from_iter([("to".to_owned(), json!(8)), ("why".to_owned(), json!(""))]);
        let request = Request { id: 70, unit: None, verb: "set".to_owned(), args, by: None };
        let mut frame = vec![];
        octet_control::encode(&serde_json::to_vec(&request).unwrap(), &mut frame).unwrap();
        (&stream).write_all(&frame).unwrap();
        service.ask("set", json!({ "to": 6, "why": "" })).await.unwrap();
        assert_eq!(sees.recv().await.unwrap(), 6);
        let mut following = state.following.subscribe();
        assert_eq!(*following.borrow(), 1);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        following.wait_for(|count| *count == 0).await.unwrap();
        followed.await.unwrap().unwrap();
        assert_eq!(*state.number.borrow(), 6);
    });
}

/// Further clients wait for the next round.
#[test]
fn no_turn_is_longer_than_it_may_be() {
    run(async {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let _waiting: Vec<_> =
            (0..AT_ONCE * 2).map(|_| StdStream::connect(&path).unwrap()).collect();
        let taken = Cell::new(0);
        let user = |_: &UnixStream| {
            taken.set(taken.get() + 1);
            Err(io::ErrorKind::Other.into())
        };
        let answers = Rc::new((Callers::default(), verbs(), Rc::<State>::default()));
        let mut server = pin!(serve_users(listener, LIMITS, user, answers));
        let mut turns = vec![];
        while taken.get() < AT_ONCE * 2 {
            let before = taken.get();
            poll_fn(|context| {
                assert!(server.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            turns.push(taken.get() - before);
            // The kernel may report the connection later.
            yield_now().await;
        }
        turns.retain(|taken| *taken > 0);
        assert_eq!(turns, [AT_ONCE, AT_ONCE]);
    });
}
