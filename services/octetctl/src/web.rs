//! `octetctl --box BOX web` serves the box's pages to a browser of this machine (crate `octet-web`), and connects to the
//! gates for it.

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use octet_control::Client;
use octet_node::key::PrivateKey;
use octet_web::{ConnectionUse, HOME, NodeClient, NodeError, WebLimits, WebLinks, WebServer};
use rustix::net::sockopt::{
    set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl,
};

use crate::board::{self, BoardArgument};
use crate::boxes::Boxes;
use crate::remote::{self, RemoteError};
use crate::target::BoxAddress;

/// How long a page waits for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A stream of items may be silent for as long as nothing changes. A box that is gone is noticed by probes of the kernel
/// (tcp(7)): the first one after this silence, and as many without an answer at this interval.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_PROBES: u32 = 3;

/// Serves pages of the box to a browser of this machine, until ctrl-C
///
/// It listens at 127.0.0.1 and prints a link, which begins a session and can be used once within five minutes. Enter prints
/// a new one. Everything comes through the box's gate, with your key.
#[derive(Debug, Parser)]
#[command(name = "octetctl web", bin_name = "octetctl --box BOX web")]
pub struct WebLine {
    /// The port of 127.0.0.1 [default: any that is free]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("cannot serve at 127.0.0.1: {0}")]
    Serve(#[from] io::Error),
}

impl WebError {
    /// A hint for the user.
    pub fn help(&self) -> &str {
        match self {
            Self::Remote(error) => error.help(),
            Self::Serve(_) => "another program has that port: name another with --port N",
        }
    }
}

/// The gates of a box, as the operator with `key` reaches them.
struct Gates {
    target: BoxAddress,
    key: Arc<PrivateKey>,
    /// The file of known boxes. It is read for each connection: the operator may revoke a box meanwhile.
    boxes: PathBuf,
}

/// Serves until the process ends.
pub fn serve(
    line: &WebLine,
    target: BoxAddress,
    key: PrivateKey,
    boxes: PathBuf,
) -> Result<(), WebError> {
    // The first connection may ask at the terminal whether the box is the right one. From then on it is that one.
    let mut known = Boxes::open(&boxes).map_err(RemoteError::from)?;
    let (client, node) = remote::connect(&target, &key, &mut known)?;
    drop(client);
    remote::never_ask();
    let name = target.address.to_string();
    let gates =
        Gates { target: BoxAddress { key: Some(node), ..target }, key: Arc::new(key), boxes };
    let connect = Box::new(move |number, used| gates.connect(number, used).map_err(no_answer));
    let clock = Arc::new(Instant::now);
    let server = WebServer::bind(line.port, connect, WebLimits::default(), clock)?;
    let links = server.links();
    print_link(&name, &links)?;
    if io::stdin().is_terminal() {
        thread::spawn(move || {
            for _ in io::stdin().lock().lines().map_while(Result::ok) {
                if let Err(error) = print_link(&name, &links) {
                    eprintln!("octetctl: {error}");
                }
            }
        });
    }
    Ok(server.run()?)
}

/// Prints a new link; the one before is not valid any more.
fn print_link(name: &str, links: &WebLinks) -> io::Result<()> {
    octet_control::print(&format!("{}\n", links.next()?))?;
    if io::stdin().is_terminal() {
        eprintln!(
            "the pages of {name}, for one use within 5 minutes; Enter prints a new link, ctrl-C ends"
        );
    }
    Ok(())
}

fn no_answer(error: RemoteError) -> NodeError {
    NodeError::NoAnswer { message: error.to_string(), help: error.help().to_owned() }
}

impl Gates {
    /// Connects to the box, or through it to a board.
    fn connect(&self, number: u8, used: ConnectionUse) -> Result<NodeClient, RemoteError> {
        let mut boxes = Boxes::open(&self.boxes)?;
        let (client, node) = remote::connect(&self.target, &self.key, &mut boxes)?;
        let no_gate =
            |problem: String| RemoteError::NoGate(self.target.address.to_string(), problem);
        let too_soon = || no_gate("it spoke too soon".to_owned());
        let set =
            |socket: &_| set_waiting(socket, used).map_err(|error| no_gate(error.to_string()));
        if number == HOME {
            let stream = client.into_stream().ok_or_else(too_soon)?;
            set(&stream.sock)?;
            return Ok(Client::new(Box::new(stream)));
        }
        let board = BoardArgument { number, key: None };
        let (client, _) = board::connect(client, node, board, &self.key, &mut boxes)?;
        let stream = client.into_stream().ok_or_else(too_soon)?;
        set(&stream.sock.sock)?;
        Ok(Client::new(Box::new(stream)))
    }
}

fn set_waiting(socket: &std::net::TcpStream, used: ConnectionUse) -> io::Result<()> {
    match used {
        ConnectionUse::Calls => remote::set_timeout(socket, Some(CALL_TIMEOUT)),
        ConnectionUse::Stream => {
            set_socket_keepalive(socket, true)?;
            set_tcp_keepidle(socket, KEEPALIVE)?;
            set_tcp_keepintvl(socket, KEEPALIVE)?;
            Ok(set_tcp_keepcnt(socket, KEEPALIVE_PROBES)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::tests::{Operator, new, router};
    use serde_json::{Map, json};

    #[test]
    fn pages_reach_the_box_and_its_boards() {
        let (node, board, operator) = (new(), new(), Operator::new());
        let address = router(&node, &board, 2, json!({ "node": board.public() }));
        let target = BoxAddress { key: Some(node.public()), address: address.clone() };
        let key = Arc::clone(&operator.key);
        let gates = Gates { target, key, boxes: operator.folder.path().join("boxes.toml") };
        let call = |number, used| -> Result<serde_json::Value, RemoteError> {
            Ok(gates.connect(number, used)?.call("status", Map::new())?)
        };
        let entry = json!({ "node": board.public() });
        assert_eq!(call(HOME, ConnectionUse::Calls).unwrap(), entry);
        assert_eq!(call(HOME, ConnectionUse::Stream).unwrap(), entry);
        // A board that the operator does not know is refused, until `octetctl` has been told its key: the file is read again.
        let refused = call(3, ConnectionUse::Calls).unwrap_err();
        assert!(
            matches!(refused, RemoteError::UnknownBoard(3, key) if key == board.public()),
            "{refused}"
        );
        assert!(no_answer(refused).help().contains("--board N=KEY"));
        operator.ask(&node, &address, Some(&board)).unwrap();
        assert_eq!(call(3, ConnectionUse::Calls).unwrap(), "board");
        assert_eq!(call(3, ConnectionUse::Stream).unwrap(), "board");
        // So is a revocation.
        operator.boxes().revoke(node.public()).unwrap();
        assert!(matches!(call(HOME, ConnectionUse::Calls), Err(RemoteError::Revoked(_))));
    }
}
