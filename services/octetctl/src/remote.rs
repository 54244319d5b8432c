//! A connection to the gate of a box.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use octet_control::{Client, Decoder, HEADER, PublicKey};
use octet_node::hello::{Hello, LONGEST_HELLO, NotTheBox};
use octet_node::key::Key;
use octet_node::tls;
use rustls::{ClientConnection, StreamOwned};

use crate::boxes::{Boxes, BoxesError};
use crate::target::{Address, Target};

/// How long an address may take to answer, and a gate to say who it is.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is spoken to.
pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nobody answers there.
    #[error("cannot reach {0}: {1}")]
    Unreachable(Address, io::Error),
    /// Whoever answers is no gate.
    #[error("what answers at {0} is no gate: {1}")]
    NoGate(Address, String),
    /// It is another gate than the one that is meant.
    #[error("{0}: {1}")]
    NotTheBox(Address, NotTheBox),
    /// The operator has said that it is in others' hands.
    #[error("{0} was revoked: whoever has that box has its keys, too")]
    Revoked(PublicKey),
    /// The box is not known, and nobody can be asked.
    #[error("the box at {0} is not known; it says that it is {1}")]
    Unknown(Address, PublicKey),
    /// The operator does not know it either.
    #[error("nothing was asked of {0}")]
    Declined(Address),
    /// What is known of boxes cannot be read or kept.
    #[error(transparent)]
    Boxes(#[from] BoxesError),
}

impl RemoteError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unreachable(..) => "the box's console shows its addresses",
            Self::NoGate(..) => "the gate listens on port 4040; say ADDRESS:PORT if it is another",
            Self::NotTheBox(..) => {
                "if the box was reset or replaced, take its new key from its console: --box KEY@ADDRESS"
            }
            Self::Revoked(_) => {
                "a box that was found again is to be reset at its own, which gives it another key; `octetctl boxes` lists what is known"
            }
            Self::Unknown(..) => "compare that with the box's console, then say --box KEY@ADDRESS",
            Self::Declined(_) => "the box's console shows its key",
            Self::Boxes(_) => "mend the file, or move it away",
        }
    }
}

/// Connects to `target` as the holder of `key`, and sees that it is the box that is meant: the one
/// that `target` names, or that was at this address before, or that a person at the terminal knows.
/// Beside the connection comes its key.
///
/// # Errors
/// It is not, or cannot be reached. Nothing was asked of it.
pub fn connect(
    target: &Target,
    key: &Key,
    boxes: &mut Boxes,
) -> Result<(Client<Stream>, PublicKey), RemoteError> {
    let address = &target.address;
    let meant = target.key.or_else(|| boxes.at(address));
    meant.map_or(Ok(()), |node| not_revoked(boxes, node))?;
    let no_gate = |problem: String| RemoteError::NoGate(address.clone(), problem);
    let stream = reach(address)?;
    let config = tls::client(key).map_err(|error| no_gate(error.to_string()))?;
    let connection = ClientConnection::new(config, tls::any_name());
    let connection = connection.map_err(|error| no_gate(error.to_string()))?;
    let mut stream = StreamOwned::new(connection, stream);
    let hello = hello(&mut stream).map_err(|error| no_gate(error.to_string()))?;
    let peer = tls::peer_key(stream.conn.peer_certificates());
    let peer = peer.ok_or_else(|| no_gate("it shows no ed25519 key".into()))?;
    let not_the_box = |why| RemoteError::NotTheBox(address.clone(), why);
    let node = match meant {
        Some(node) => node,
        None => {
            let node = hello.node(peer).map_err(not_the_box)?.0;
            not_revoked(boxes, node)?;
            ask(address, node)?
        }
    };
    let epoch = hello.check(peer, node, boxes.seen(node)).map_err(not_the_box)?;
    boxes.remember(address, node, epoch)?;
    // From here on an answer may take its time.
    let waits =
        stream.sock.set_read_timeout(None).and_then(|()| stream.sock.set_write_timeout(None));
    waits.map_err(|error| no_gate(error.to_string()))?;
    Ok((Client::new(stream), node))
}

/// Sees that nothing is said to a box that is in others' hands.
///
/// # Errors
/// It is.
pub fn not_revoked(boxes: &Boxes, node: PublicKey) -> Result<(), RemoteError> {
    if boxes.is_revoked(node) { Err(RemoteError::Revoked(node)) } else { Ok(()) }
}

fn reach(address: &Address) -> Result<TcpStream, RemoteError> {
    let unreachable = |error| RemoteError::Unreachable(address.clone(), error);
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for found in address.parts().to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&found, PATIENCE) {
            Ok(stream) => {
                let bounded = stream
                    .set_read_timeout(Some(PATIENCE))
                    .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
                    .and_then(|()| stream.set_nodelay(true));
                bounded.map_err(unreachable)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// Reads the first frame, and not a byte more: what follows is the client's.
fn hello(stream: &mut Stream) -> io::Result<Hello> {
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

/// Asks the person at the terminal whether the box at `address` is `node`.
fn ask(address: &Address, node: PublicKey) -> Result<PublicKey, RemoteError> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(RemoteError::Unknown(address.clone(), node));
    }
    eprint!(
        "The box at {address} is not known. It says that it is\n\n    {node}\n\n\
         Its console shows its key. Is it the same? Write yes: "
    );
    let mut answer = String::new();
    let read = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut answer));
    match read {
        Ok(_) if answer.trim() == "yes" => Ok(node),
        _ => Err(RemoteError::Declined(address.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_control::{Reply, ReplyBody, encode};
    use octet_node::certificate::{Certificate, Statement};
    use rustls::ServerConnection;
    use std::net::TcpListener;
    use std::thread;
    use tempfile::TempDir;

    /// A gate that says who it is by `certificate`, and answers one request with whose key it saw.
    fn gate(key: Key, certificate: Certificate) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = ServerConnection::new(tls::server(&key).unwrap()).unwrap();
                // A client that does not like what it sees goes away.
                let _ = converse(StreamOwned::new(connection, stream), &certificate);
            }
        });
        address
    }

    fn converse(
        mut stream: StreamOwned<ServerConnection, TcpStream>,
        certificate: &Certificate,
    ) -> io::Result<()> {
        let say = |stream: &mut StreamOwned<_, _>, json: Vec<u8>| {
            let mut frame = vec![];
            encode(&json, &mut frame).unwrap();
            stream.write_all(&frame)
        };
        say(&mut stream, serde_json::to_vec(&Hello::new(certificate.clone()))?)?;
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer)?;
        let request: serde_json::Value = serde_json::from_slice(&buffer[HEADER..count])?;
        let seen = tls::peer_key(stream.conn.peer_certificates()).unwrap();
        let body = ReplyBody::End(seen.to_string().into());
        let reply = Reply { id: request["id"].as_u64().unwrap(), body };
        say(&mut stream, serde_json::to_vec(&reply)?)
    }

    fn certificate(node: &Key, key: PublicKey, epoch: u64) -> Certificate {
        let unit = "gate".parse().unwrap();
        let statement = Statement { node: node.public(), unit, key, epoch, issued: 1 };
        Certificate::sign(statement, node).unwrap()
    }

    fn new() -> Key {
        Key::generate().unwrap()
    }

    #[test]
    fn only_the_box_that_is_meant() {
        let (operator, node, other) = (new(), new(), new());
        let folder = TempDir::new().unwrap();
        let open = || Boxes::open(&folder.path().join("boxes.toml")).unwrap();
        let gate_of = |epoch| {
            let key = new();
            let certificate = certificate(&node, key.public(), epoch);
            gate(key, certificate)
        };
        let connect = |key: Option<PublicKey>, address: &Address| {
            let target = Target { key, address: address.clone() };
            let (mut client, reached) = connect(&target, &operator, &mut open())?;
            assert_eq!(reached, node.public());
            Ok(client.call("status", serde_json::Map::new()).unwrap())
        };
        let problem =
            |result: Result<serde_json::Value, RemoteError>| result.unwrap_err().to_string();

        // Not known, and nobody to ask: refused, and told who it says that it is.
        let address = gate_of(2);
        assert!(problem(connect(None, &address)).contains(&node.public().to_string()));
        // Named, and from then on known.
        let public = operator.public().to_string();
        assert_eq!(connect(Some(node.public()), &address).unwrap(), public);
        assert_eq!(connect(None, &address).unwrap(), public);
        // Another box than the one that is named.
        assert!(problem(connect(Some(other.public()), &address)).contains("not did:key"));
        // The same box with a key that is older than the one that was seen; then with a newer one.
        assert!(problem(connect(Some(node.public()), &gate_of(1))).contains("number 2 was seen"));
        assert_eq!(connect(Some(node.public()), &gate_of(3)).unwrap(), public);
        assert!(problem(connect(None, &address)).contains("number 3 was seen"));
    }

    #[test]
    fn a_box_in_others_hands_is_not_spoken_to() {
        let (operator, node, key) = (new(), new(), new());
        let folder = TempDir::new().unwrap();
        let mut boxes = Boxes::open(&folder.path().join("boxes.toml")).unwrap();
        let certificate = certificate(&node, key.public(), 1);
        let address = gate(key, certificate);
        let named = Target { key: Some(node.public()), address: address.clone() };
        assert!(connect(&named, &operator, &mut boxes).is_ok());
        boxes.revoke(node.public()).unwrap();
        let elsewhere = Target { key: None, address: "localhost:1".parse().unwrap() };
        assert!(matches!(
            connect(&elsewhere, &operator, &mut boxes),
            Err(RemoteError::Unreachable(..))
        ));
        let known = Target { key: None, address: address.clone() };
        for target in [named, known] {
            let problem = connect(&target, &operator, &mut boxes).unwrap_err().to_string();
            assert!(problem.contains("was revoked"), "{problem}");
        }
        // At an address where it was not before it says who it is; nobody is asked about it.
        let at = format!("localhost:{}", address.parts().1).parse().unwrap();
        let moved = Target { key: None, address: at };
        let problem = connect(&moved, &operator, &mut boxes).unwrap_err().to_string();
        assert!(problem.contains("was revoked"), "{problem}");
    }

    /// Who has the box's certificate, but not the key that it is about.
    #[test]
    fn a_certificate_of_another_is_of_no_use() {
        let (operator, node, key, thief) = (new(), new(), new(), new());
        let folder = TempDir::new().unwrap();
        let mut boxes = Boxes::open(&folder.path().join("boxes.toml")).unwrap();
        let certificate = certificate(&node, key.public(), 1);
        let target = |address: Address| Target { key: Some(node.public()), address };
        let honest = target(gate(key, certificate.clone()));
        assert!(connect(&honest, &operator, &mut boxes).is_ok());
        let stolen = target(gate(thief, certificate));
        let problem = connect(&stolen, &operator, &mut boxes).unwrap_err().to_string();
        assert!(problem.contains("not its own"), "{problem}");
        assert_eq!(boxes.at(&stolen.address), None);
    }
}
