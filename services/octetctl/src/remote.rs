//! A connection to the gate of a box.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use octet_control::{Client, Decoder, HEADER, PublicKey};
use octet_node::hello::{Hello, HelloError, LONGEST_HELLO};
use octet_node::key::PrivateKey;
use octet_node::tls;
use rustls::{ClientConnection, StreamOwned};

use crate::boxes::{Boxes, BoxesError};
use crate::completion;
use crate::target::{BoxAddress, GateAddress};

/// The timeout of a connection attempt, and of a gate's hello.
pub const TIMEOUT: Duration = Duration::from_secs(15);

pub type RemoteStream = StreamOwned<ClientConnection, TcpStream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("cannot reach {0}: {1}")]
    Unreachable(GateAddress, io::Error),
    /// The peer is not a gate.
    #[error("the server at {0} is not a gate: {1}")]
    NoGate(String, String),
    /// The peer is another box.
    #[error("{0}: {1}")]
    WrongBox(GateAddress, HelloError),
    /// The operator has revoked the box.
    #[error("{0} was revoked: that box's keys are compromised")]
    Revoked(PublicKey),
    /// The box is unknown, and there is no user to ask.
    #[error("the box at {0} is not known; it says that it is {1}")]
    Unknown(GateAddress, PublicKey),
    /// The user did not confirm the key.
    #[error("no command was sent to {0}")]
    Declined(String),
    /// The call for the relay has failed.
    #[error(transparent)]
    Box(#[from] octet_control::CallError),
    /// The peer is another board.
    #[error("board {0}: {1}")]
    WrongBoard(u8, HelloError),
    /// The board is unknown, and there is no user to ask.
    #[error("board {0} is not known; it says that it is {1}")]
    UnknownBoard(u8, PublicKey),
    /// No board has this number.
    #[error("board {0} has no key, and none waits there")]
    NoTerminal(u8),
    /// The board's key is not the given one.
    #[error("the node at board {0} is {1}, not {2}")]
    OtherKey(u8, PublicKey, PublicKey),
    /// The file of known boxes is unusable.
    #[error(transparent)]
    Boxes(#[from] BoxesError),
}

impl RemoteError {
    /// A hint for the user.
    pub fn help(&self) -> &str {
        match self {
            Self::Unreachable(..) => "the box may be off; its console shows its addresses",
            Self::NoGate(..) => "the gate listens on port 4040; say ADDRESS:PORT if it is another",
            Self::WrongBox(..) => {
                "if the box was reset or replaced, take its new key from its console: --box KEY@ADDRESS"
            }
            Self::Revoked(_) => {
                "a box that was found again is to be reset at its own, which gives it another key; `octetctl boxes` lists what is known"
            }
            Self::Unknown(..) => "compare that with the box's console, then say --box KEY@ADDRESS",
            Self::Declined(_) => "the box's console shows its key",
            Self::Box(octet_control::CallError::Failure(failure)) => &failure.help,
            Self::Box(_) => "ask again; the box's console shows how it is",
            Self::WrongBoard(..) => {
                "if the board was replaced, take its new key from its console: --board N=KEY"
            }
            Self::UnknownBoard(..) => {
                "compare that with the board's console, then run `octetctl --box BOX --board N=KEY status` once"
            }
            Self::NoTerminal(_) => "`cluster show` tells how each board is",
            Self::OtherKey(..) => {
                "compare it with the board's console; if the board was replaced, say N=KEY with its new key"
            }
            Self::Boxes(_) => "mend the file, or move it away",
        }
    }
}

/// Connects to `target` with the operator's `key`, and verifies the box's key: it must be the one
/// in `target`, or the same as before at this address, or confirmed by the user. Returns the
/// connection and the key.
///
/// # Errors
/// Verification fails, or the box is unreachable. No request was sent to it.
pub fn connect(
    target: &BoxAddress,
    key: &PrivateKey,
    boxes: &mut Boxes,
) -> Result<(Client<RemoteStream>, PublicKey), RemoteError> {
    let address = &target.address;
    let expected = target.key.or_else(|| boxes.node_at(address));
    expected.map_or(Ok(()), |node| check_not_revoked(boxes, node))?;
    let no_gate = |problem: String| RemoteError::NoGate(address.to_string(), problem);
    let UnverifiedConnection { stream, hello, peer } =
        handshake(connect_tcp(address)?, key).map_err(no_gate)?;
    let not_the_box = |why| RemoteError::WrongBox(address.clone(), why);
    let node = match expected {
        Some(node) => node,
        None => {
            let node = hello.node(peer).map_err(not_the_box)?.0;
            check_not_revoked(boxes, node)?;
            match confirm(&format!("The box at {address}"), node) {
                PromptAnswer::Yes => node,
                PromptAnswer::No => return Err(RemoteError::Declined(address.to_string())),
                PromptAnswer::Nobody => return Err(RemoteError::Unknown(address.clone(), node)),
            }
        }
    };
    let epoch = hello.check(peer, node, boxes.key_epoch(node)).map_err(not_the_box)?;
    boxes.remember(address, node, epoch)?;
    // Verification is over; the time of an answer is not limited.
    set_timeout(&stream.sock, None).map_err(|error| no_gate(error.to_string()))?;
    Ok((Client::new(stream), node))
}

/// A connection whose peer has sent its hello, which is not verified yet.
pub struct UnverifiedConnection<S: Read + Write> {
    pub stream: StreamOwned<ClientConnection, S>,
    /// The gate's hello.
    pub hello: Hello,
    /// The key that the peer has proved by TLS.
    pub peer: PublicKey,
}

/// Performs the TLS handshake with the operator's `key`, and reads the hello.
pub fn handshake<S: Read + Write>(
    stream: S,
    key: &PrivateKey,
) -> Result<UnverifiedConnection<S>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let config = tls::client(key, tls::AlpnProtocol::Control).map_err(|error| words(&error))?;
    let connection = ClientConnection::new(config, tls::any_name());
    let mut stream = StreamOwned::new(connection.map_err(|error| words(&error))?, stream);
    let hello = read_hello(&mut stream).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => "the other side closed the connection".to_owned(),
        _ => words(&error),
    })?;
    let peer = tls::peer_key(stream.conn.peer_certificates());
    let peer = peer.ok_or("it shows no ed25519 key")?;
    Ok(UnverifiedConnection { stream, hello, peer })
}

/// Sets the timeout of reads and writes.
///
/// # Errors
/// The kernel refuses it.
pub fn set_timeout(stream: &TcpStream, patience: Option<Duration>) -> io::Result<()> {
    stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience))
}

/// Checks that `node` is not revoked.
pub fn check_not_revoked(boxes: &Boxes, node: PublicKey) -> Result<(), RemoteError> {
    if boxes.is_revoked(node) { Err(RemoteError::Revoked(node)) } else { Ok(()) }
}

fn connect_tcp(address: &GateAddress) -> Result<TcpStream, RemoteError> {
    let unreachable = |error| RemoteError::Unreachable(address.clone(), error);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for found in address.parts().to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&found, TIMEOUT) {
            Ok(stream) => {
                let bounded =
                    set_timeout(&stream, Some(TIMEOUT)).and_then(|()| stream.set_nodelay(true));
                bounded.map_err(unreachable)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// Reads the first frame byte by byte, because the following bytes are the client's.
fn read_hello(stream: &mut impl Read) -> io::Result<Hello> {
    let mut decoder = Decoder::with_limit(LONGEST_HELLO);
    let mut wanted = HEADER;
    loop {
        let mut bytes = vec![0; wanted];
        stream.read_exact(&mut bytes)?;
        decoder.push(&bytes);
        if let Some(payload) = decoder.next_payload().map_err(io::Error::other)? {
            return Ok(serde_json::from_slice(&payload)?);
        }
        wanted = 1;
    }
}

/// The user's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptAnswer {
    Yes,
    /// The user has denied it, or does not know.
    No,
    Nobody,
}

/// Whether the terminal has another use, so that the user cannot be asked there.
static NEVER_ASK: AtomicBool = AtomicBool::new(false);

/// From now on nobody is asked at the terminal: unknown nodes are refused.
#[cfg(feature = "web")]
pub fn never_ask() {
    NEVER_ASK.store(true, Ordering::Relaxed);
}

/// Asks the user at the terminal whether `what` is `node`.
pub fn confirm(what: &str, node: PublicKey) -> PromptAnswer {
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !is_terminal || completion::is_requested() || NEVER_ASK.load(Ordering::Relaxed) {
        return PromptAnswer::Nobody;
    }
    eprint!(
        "{what} is not known to you. It says that it is\n\n    {node}\n\n\
         Its console shows its key. Is it the same? Write yes: "
    );
    let mut answer = String::new();
    let read = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut answer));
    match read {
        Ok(_) if answer.trim() == "yes" => PromptAnswer::Yes,
        _ => PromptAnswer::No,
    }
}

#[cfg(test)]
mod tests;
