use super::*;
use octet_control::PieceBody;
use octet_control::file::{ChunkBytes, MAX_CHUNK, MAX_WANT, MAX_WANTS, Want};
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;
use tempfile::TempDir;

/// A test that hangs fails after this time, which is long enough for any machine.
const LONGEST: Option<Duration> = Some(Duration::from_secs(180));

/// A port made of a pair of sockets, with an operator at its other end, and the unit `update`, as a
/// listener.
struct Between {
    _folder: TempDir,
    operator: UnixStream,
    update: UnixListener,
    read: Decoder,
}

impl Between {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let update = UnixListener::bind(folder.path().join("update.sock")).unwrap();
        let (operator, port) = UnixStream::pair().unwrap();
        port.set_nonblocking(true).unwrap();
        operator.set_read_timeout(LONGEST).unwrap();
        let sockets = folder.path().to_owned();
        // It serves for as long as the process lives.
        thread::spawn(move || serve(File::from(OwnedFd::from(port)), &sockets));
        Self { _folder: folder, operator, update, read: Decoder::default() }
    }

    fn send(&self, message: &ClientMessage) {
        (&self.operator).write_all(&to_frame(serde_json::to_vec(message))).unwrap();
    }

    fn ask(&self, id: u64, unit: &str, verb: &str) {
        let (unit, verb, by) = (unit.parse().ok(), verb.to_owned(), None);
        self.send(&ClientMessage::Request(Request { id, unit, verb, args: Map::new(), by }));
    }

    fn hand_over(&self, id: u64, at: usize, bytes: usize) {
        let chunk = ChunkBytes::new(at as u64, vec![7; bytes]).unwrap();
        self.send(&ClientMessage::Piece(FilePiece { id, body: PieceBody::Chunk(chunk) }));
    }

    /// The unit's end of the next connection.
    fn unit(&self) -> Unit {
        let (stream, _) = self.update.accept().unwrap();
        stream.set_read_timeout(LONGEST).unwrap();
        Unit(stream, Decoder::default())
    }

    /// The next reply that reaches the operator.
    fn reply(&mut self) -> Reply {
        serde_json::from_value(next(&mut self.operator, &mut self.read).unwrap()).unwrap()
    }
}

struct Unit(UnixStream, Decoder);

impl Unit {
    /// The next message that reaches the unit; `None` at the end.
    fn next(&mut self) -> Option<Value> {
        next(&mut self.0, &mut self.1)
    }

    fn say(&self, id: u64, body: ReplyBody) {
        (&self.0).write_all(&to_frame(serde_json::to_vec(&Reply { id, body }))).unwrap();
    }
}

fn next(stream: &mut UnixStream, decoder: &mut Decoder) -> Option<Value> {
    let mut buffer = [0; 16 << 10];
    loop {
        if let Some(payload) = decoder.next_payload().unwrap() {
            return Some(serde_json::from_slice(&payload).unwrap());
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => decoder.push(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Everything that a unit may have in flight is buffered while it reads nothing, and reaches it in
/// order.
#[test]
fn what_was_wanted_is_handed_on() {
    let mut between = Between::new();
    between.ask(5, "update", "install");
    let mut unit = between.unit();
    assert_eq!(unit.next().unwrap(), json!({ "id": 5, "verb": "install", "by": "port" }));
    let wants = (0..MAX_WANTS as u64)
        .map(|number| Want { at: number * u64::from(MAX_WANT), length: MAX_WANT });
    for want in wants.clone() {
        unit.say(5, ReplyBody::Want(want));
    }
    for want in wants {
        assert_eq!(between.reply(), Reply { id: 5, body: ReplyBody::Want(want) });
    }
    between.hand_over(6, 0, 1); // nobody has asked that
    let chunks = || (0..MAX_WANTS * MAX_WANT as usize).step_by(MAX_CHUNK);
    for at in chunks() {
        between.hand_over(5, at, MAX_CHUNK);
    }
    // More than the unit's socket accepts: the port continues, and serves other requests meanwhile.
    between.ask(7, "update", "status");
    between.unit().say(7, ReplyBody::End(json!(7)));
    assert_eq!(between.reply().id, 7);
    for at in chunks() {
        let piece = unit.next().unwrap();
        assert_eq!((&piece["id"], &piece["chunk"]["at"]), (&json!(5), &json!(at)));
    }
    // Replies to other requests are ignored.
    unit.say(6, ReplyBody::End(json!("another")));
    unit.say(5, ReplyBody::End(json!("done")));
    assert_eq!(between.reply(), Reply { id: 5, body: ReplyBody::End(json!("done")) });
    // The connection ends with the answer.
    assert_eq!(unit.next(), None);
}

/// Data that was not requested is refused and not stored. Other requests continue.
#[test]
fn what_was_not_wanted_is_given_up() {
    let mut between = Between::new();
    between.ask(4, "update", "status");
    let other = between.unit();
    between.ask(5, "update", "install");
    let mut unit = between.unit();
    assert_eq!(unit.next().unwrap()["id"], 5);
    for at in [0, MAX_CHUNK] {
        between.hand_over(5, at, MAX_CHUNK);
    }
    let reply = between.reply();
    let ReplyBody::Error(failure) = &reply.body else { panic!("{reply:?}") };
    assert_eq!(reply.id, 5);
    assert!(failure.message.contains("not asked for"), "{failure}");
    assert_eq!(unit.next(), None);
    other.say(4, ReplyBody::End(json!(4)));
    assert_eq!(between.reply().id, 4);
}

/// A unit that requests more than may be in flight gets its call failed.
#[test]
fn what_a_unit_wants_is_bounded() {
    let mut between = Between::new();
    between.ask(5, "update", "install");
    let unit = between.unit();
    for _ in 0..=MAX_WANTS {
        unit.say(5, ReplyBody::Want(Want { at: 0, length: MAX_WANT }));
    }
    for _ in 0..MAX_WANTS {
        assert!(matches!(between.reply().body, ReplyBody::Want(_)));
    }
    let reply = between.reply();
    let ReplyBody::Error(failure) = &reply.body else { panic!("{reply:?}") };
    assert!(failure.message.contains("may be in flight"), "{failure}");
}

/// A call fails if the unit ends early, sends something else, or does not exist.
#[test]
fn what_a_unit_does_not_answer_is_answered() {
    let mut between = Between::new();
    let failure = |between: &mut Between| {
        let reply = between.reply();
        let ReplyBody::Error(failure) = reply.body else { panic!("{reply:?}") };
        failure.message
    };
    between.ask(1, "update", "status");
    let mut unit = between.unit();
    // It ends after it has received the whole request.
    unit.next().unwrap();
    drop(unit);
    let closed = failure(&mut between);
    assert_eq!(closed, "unit `update` does not answer: it closed the connection");
    between.ask(2, "update", "status");
    let mut unit = between.unit();
    unit.next().unwrap();
    (&unit.0).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    assert!(failure(&mut between).contains("does not start with OCT1"));
    between.ask(3, "nothing", "status");
    assert!(failure(&mut between).starts_with("unit `nothing` does not answer"));
}

/// However many requests are pending, the next one is accepted: the oldest is dropped, and of
/// watches all but the last.
#[test]
fn the_oldest_gives_way() {
    let mut between = Between::new();
    let mut units: Vec<Unit> = vec![];
    for id in 0..MAX_PENDING as u64 + 2 {
        between.ask(id, "update", "follow");
        let mut unit = between.unit();
        assert_eq!(unit.next().unwrap()["id"], id);
        units.push(unit);
    }
    let mut ended = units.drain(..2);
    assert!(ended.all(|mut unit| unit.next().is_none()));
    drop(ended);
    for (index, unit) in units.iter().enumerate() {
        let id = index as u64 + 2;
        unit.say(id, ReplyBody::End(json!(id)));
        assert_eq!(between.reply(), Reply { id, body: ReplyBody::End(json!(id)) });
    }
}

/// The user disconnects: the units are notified, and later input belongs to the next user.
#[test]
fn the_next_user_starts_afresh() {
    let mut between = Between::new();
    between.ask(1, "update", "follow");
    let mut unit = between.unit();
    assert_eq!(unit.next().unwrap()["id"], 1);
    between.operator.shutdown(Shutdown::Write).unwrap();
    assert_eq!(unit.next(), None);
    // A pair of sockets has no next user; its end shows that nobody receives an answer.
    unit.0.shutdown(Shutdown::Both).unwrap();
    between.operator.set_nonblocking(true).unwrap();
    assert_eq!(between.operator.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}
