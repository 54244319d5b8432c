//! Calls to the nodes of a box: one connection to the box, and one to the board that was called last, because a gate
//! permits an operator few connections. They block.

use std::io::{ErrorKind, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use octet_control::{CallError, Client, FailureCode, UnitName, Verb};
use serde_json::{Map, Value};

/// How long the connection to a board is kept without a call.
pub const BOARD_IDLE: Duration = Duration::from_secs(60);

/// How long a node that could not be reached is not tried again: a page makes several calls.
const UNREACHABLE_FOR: Duration = Duration::from_secs(3);

/// The number of the node at whose gate the program is connected.
pub const HOME: u8 = 0;

/// The number of a router that is a node of the box.
const ROUTER: u8 = 0;

/// Boards have the numbers 1 to 32.
pub const LAST_BOARD: u8 = 32;

/// What an answer may have: items, and bytes of them as text. More is cut off.
const MAX_ITEMS: usize = 4096;
const MAX_ANSWER: usize = 16 << 20;

/// What a connection is for, which decides how long it may wait for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionUse {
    /// Calls with one answer: a node that does not answer in time is given up.
    Calls,
    /// A stream of items, or an installation: an answer may take any time.
    Stream,
}

pub trait NodeStream: Read + Write + Send {}

impl<T: Read + Write + Send> NodeStream for T {}

/// A client that is connected to the gate of a node, on any kind of stream.
pub type NodeClient = Client<Box<dyn NodeStream>>;

/// Connects to the box (`HOME`) or to one of its boards.
pub type Connect = Box<dyn Fn(u8, ConnectionUse) -> Result<NodeClient, NodeError> + Send + Sync>;

/// Why a node has not answered, or has refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    #[error("no answer: {message}")]
    NoAnswer { message: String, help: String },
    #[error("{message}")]
    Failed { code: FailureCode, message: String, help: String },
}

impl NodeError {
    pub fn help(&self) -> &str {
        match self {
            Self::NoAnswer { help, .. } | Self::Failed { help, .. } => help,
        }
    }

    /// Whether the called unit is not part of the image.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Failed { code: FailureCode::NotFound, .. })
    }
}

impl From<CallError> for NodeError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failure(failure) => {
                Self::Failed { code: failure.code, message: failure.message, help: failure.help }
            }
            // The time for an answer is over (socket(7), SO_RCVTIMEO).
            CallError::Io(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Self::NoAnswer {
                    message: "the node did not answer in time".to_owned(),
                    help: "reload the page; the node's console shows how it is".to_owned(),
                }
            }
            other => Self::NoAnswer {
                message: other.to_string(),
                help: "reload the page; the node's console shows how it is".to_owned(),
            },
        }
    }
}

/// The items of an answer, and its end.
#[derive(Debug, Default)]
pub struct Answer {
    pub items: Vec<Value>,
    pub end: Value,
    /// Whether items are missing because there were too many.
    pub is_cut: bool,
}

/// Whether a call may be repeated on a new connection when the one before breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Allowed,
    Never,
}

#[derive(Default)]
struct Slot {
    connection: Option<(u8, NodeClient)>,
    last_used: Option<Instant>,
    unreachable: Option<(u8, Instant, NodeError)>,
}

impl Slot {
    /// Keeps the connection for the next call, unless the rest of an answer is still coming.
    fn keep(&mut self, node: u8, client: NodeClient, answer: &Answer) {
        self.connection = (!answer.is_cut).then_some((node, client));
    }
}

pub struct Nodes {
    connect: Connect,
    home: Mutex<Slot>,
    board: Mutex<Slot>,
    /// The number that the node at home has itself.
    own_number: Mutex<Option<u8>>,
}

impl Nodes {
    pub fn new(connect: Connect) -> Self {
        let (home, board) = (Mutex::default(), Mutex::default());
        Self { connect, home, board, own_number: Mutex::default() }
    }

    /// Remembers the number of the node at whose gate we are, for example a board that is the coordinator.
    pub fn set_own_number(&self, number: Option<u8>) {
        let mut own = self.own_number();
        *own = number.or(*own);
    }

    fn own_number(&self) -> MutexGuard<'_, Option<u8>> {
        self.own_number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a node is called. The one at home is the router, unless it has said that it is a board, or does not know.
    pub fn name(&self, node: u8) -> String {
        let number = if node == HOME { *self.own_number() } else { Some(node) };
        number.map_or_else(|| "this node".to_owned(), node_name)
    }

    /// A connection of its own, for a stream.
    pub fn stream(&self, node: u8) -> Result<NodeClient, NodeError> {
        (self.connect)(self.reached(node), ConnectionUse::Stream)
    }

    /// Calls a verb that changes nothing.
    pub fn read(&self, node: u8, unit: &str, verb: &str, args: Value) -> Result<Answer, NodeError> {
        self.call(node, unit, verb, args, Repeat::Allowed)
    }

    pub fn describe(&self, node: u8, unit: &str) -> Result<Vec<Verb>, NodeError> {
        let answer = self.read(node, unit, octet_control::DESCRIBE, Value::Null)?;
        serde_json::from_value(answer.end).map_err(|error| CallError::from(error).into())
    }

    pub fn call(
        &self,
        node: u8,
        unit: &str,
        verb: &str,
        args: Value,
        repeat: Repeat,
    ) -> Result<Answer, NodeError> {
        let unit = parse_unit(unit)?;
        let args = match args {
            Value::Object(args) => args,
            _ => Map::new(),
        };
        self.with(node, repeat, |client| {
            client.set_unit(Some(unit.clone()));
            collect(client, verb, args.clone())
        })
    }

    /// Drops the connection to a board that was not used for [`BOARD_IDLE`].
    pub fn drop_idle(&self, now: Instant) {
        // A slot that is locked is in use.
        let Ok(mut slot) = self.board.try_lock() else { return };
        if slot.last_used.is_some_and(|used| now >= used + BOARD_IDLE) {
            *slot = Slot::default();
        }
    }

    fn reached(&self, node: u8) -> u8 {
        if Some(node) == *self.own_number() { HOME } else { node }
    }

    fn with(
        &self,
        node: u8,
        repeat: Repeat,
        mut call: impl FnMut(&mut NodeClient) -> Result<Answer, CallError>,
    ) -> Result<Answer, NodeError> {
        let node = self.reached(node);
        let slot = if node == HOME { &self.home } else { &self.board };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((number, since, error)) = &slot.unreachable
            && *number == node
            && now < *since + UNREACHABLE_FOR
        {
            return Err(error.clone());
        }
        slot.last_used = Some(now);
        let old = slot.connection.take().filter(|(number, _)| *number == node);
        let mut client = match old {
            Some((_, mut client)) => match call(&mut client) {
                Err(CallError::Failure(failure)) => {
                    slot.connection = Some((node, client));
                    return Err(CallError::Failure(failure).into());
                }
                Err(error) if repeat == Repeat::Never => return Err(error.into()),
                // A gate closes connections that were idle for long.
                Err(_) => (self.connect)(node, ConnectionUse::Calls),
                Ok(answer) => {
                    slot.keep(node, client, &answer);
                    return Ok(answer);
                }
            },
            None => (self.connect)(node, ConnectionUse::Calls),
        }
        .inspect_err(|error| slot.unreachable = Some((node, Instant::now(), error.clone())))?;
        match call(&mut client) {
            Ok(answer) => {
                slot.keep(node, client, &answer);
                Ok(answer)
            }
            Err(CallError::Failure(failure)) => {
                slot.connection = Some((node, client));
                Err(CallError::Failure(failure).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What the node with a number is called.
pub fn node_name(number: u8) -> String {
    if number == ROUTER { "router".to_owned() } else { format!("board {number}") }
}

/// The unit `name`; a wrong name is one that no image has.
pub fn parse_unit(name: &str) -> Result<UnitName, NodeError> {
    name.parse().map_err(|_| NodeError::Failed {
        code: FailureCode::NotFound,
        message: "no unit has such a name".to_owned(),
        help: "the page of the node lists its units".to_owned(),
    })
}

/// Calls a verb and collects what it answers, within limits.
fn collect(
    client: &mut NodeClient,
    verb: &str,
    args: Map<String, Value>,
) -> Result<Answer, CallError> {
    let mut answer = Answer::default();
    let mut bytes = 0;
    answer.end = client.call_each(verb, args, |item| {
        bytes += item.to_string().len();
        answer.is_cut = answer.items.len() >= MAX_ITEMS || bytes > MAX_ANSWER;
        if !answer.is_cut {
            answer.items.push(item.clone());
        }
        !answer.is_cut
    })?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use octet_control::{ClientMessage, Connection, Reply, ReplyBody};
    use serde_json::json;

    use super::*;

    /// A test double of a gate: it answers `endless` with items until nobody reads, and the first call of `hang-up` with the
    /// end of the connection.
    fn serve(mut stream: UnixStream, is_first: bool) {
        let (mut connection, mut buffer) = (Connection::default(), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            for message in connection.received(&buffer[..count], true) {
                let ClientMessage::Request(request) = message else { continue };
                let mut send = |body| {
                    let reply = serde_json::to_vec(&Reply { id: request.id, body }).unwrap();
                    let mut frame = vec![];
                    octet_control::encode(&reply, &mut frame).unwrap();
                    stream.write_all(&frame).is_ok()
                };
                match request.verb.as_str() {
                    "endless" => while send(ReplyBody::Item(json!("a".repeat(1000)))) {},
                    "hang-up" if is_first => return,
                    verb => assert!(send(ReplyBody::End(verb.into()))),
                }
            }
        }
    }

    /// A box, and how many connections were made to it.
    fn nodes() -> (Nodes, Arc<AtomicUsize>) {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        let connect = move |_, _| {
            let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            let (ours, theirs) = UnixStream::pair().unwrap();
            thread::spawn(move || serve(theirs, is_first));
            Ok(Client::new(Box::new(ours) as Box<dyn NodeStream>))
        };
        (Nodes::new(Box::new(connect)), made)
    }

    #[test]
    fn an_answer_without_end_is_cut() {
        let (nodes, made) = nodes();
        let answer = nodes.read(HOME, "face", "endless", Value::Null).unwrap();
        assert!(answer.is_cut && answer.items.len() == MAX_ITEMS, "{}", answer.items.len());
        // The rest of it is not taken for the next answer.
        assert_eq!(nodes.read(HOME, "face", "show", Value::Null).unwrap().end, "show");
        assert_eq!(nodes.read(HOME, "face", "show", Value::Null).unwrap().end, "show");
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn only_what_changes_nothing_is_repeated() {
        let call = |repeat| {
            let (nodes, _) = nodes();
            nodes.read(HOME, "init", "status", Value::Null).unwrap();
            nodes.call(HOME, "init", "hang-up", Value::Null, repeat)
        };
        assert_eq!(call(Repeat::Allowed).unwrap().end, "hang-up");
        assert!(matches!(call(Repeat::Never), Err(NodeError::NoAnswer { .. })));
    }

    #[test]
    fn an_unused_connection_to_a_board_ends() {
        let (nodes, made) = nodes();
        let call = |node| nodes.read(node, "init", "status", Value::Null).unwrap();
        let now = Instant::now();
        for node in [HOME, 3, HOME, 3] {
            call(node);
            nodes.drop_idle(now + BOARD_IDLE - Duration::from_secs(1));
        }
        assert_eq!(made.load(Ordering::Relaxed), 2);
        nodes.drop_idle(Instant::now() + BOARD_IDLE);
        call(HOME);
        assert_eq!(made.load(Ordering::Relaxed), 2);
        call(3);
        assert_eq!(made.load(Ordering::Relaxed), 3);
        // A board that answers for the box itself is reached by the same connection.
        nodes.set_own_number(Some(5));
        call(5);
        assert_eq!((nodes.name(HOME), nodes.name(3)), ("board 5".to_owned(), "board 3".to_owned()));
        assert_eq!(made.load(Ordering::Relaxed), 3);
    }
}
