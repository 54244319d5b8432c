//! A board and a coordinator under the control of the test, which can send anything.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};

use octet_as_pid_1::TIMEOUT;
use octet_cluster::message::{CoordinatorHello, FromBoard, FromCoordinator, Join};
use octet_node::certificate::{Certificate, KeyStatement as Said};
use octet_node::control::{Decoder, PublicKey, encode};
use octet_node::key::PrivateKey;
use octet_node::map::{Map, MapVersion, Member, SignedMap};
use octet_node::statement::SignedAppointment;
use octet_node::tls::{self, AlpnProtocol};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use serde::Serialize;

use crate::host::address;

/// A node with its key of `cluster`.
pub struct Node {
    pub node: PrivateKey,
    pub key: PrivateKey,
}

/// A connection with its receive buffer.
pub struct Link<S> {
    pub stream: S,
    decoder: Decoder,
}

pub type Client = StreamOwned<ClientConnection, TcpStream>;
pub type Server = StreamOwned<ServerConnection, TcpStream>;

impl Node {
    pub fn new() -> Self {
        Self { node: PrivateKey::generate().unwrap(), key: PrivateKey::generate().unwrap() }
    }

    pub fn public(&self) -> PublicKey {
        self.node.public()
    }

    pub fn certificate(&self, epoch: u64) -> Certificate {
        self.certificate_of("cluster", epoch)
    }

    pub fn certificate_of(&self, unit: &str, epoch: u64) -> Certificate {
        let (node, key, unit) = (self.public(), self.key.public(), unit.parse().unwrap());
        Certificate::sign(Said { node, unit, key, epoch, issued: 1 }, &self.node).unwrap()
    }

    /// The join of an honest board at port `number`.
    pub fn join(&self, number: u8) -> Join {
        let certificate = self.certificate(1);
        let certificates = Some(vec![certificate.clone()]);
        Join { certificate, number: Some(number), certificates, have: None, map: None }
    }

    /// Connects from the port of board `number`, and receives the coordinator's hello.
    pub fn connect(
        &self,
        port: &TcpListener,
        number: u8,
    ) -> io::Result<(Link<Client>, CoordinatorHello)> {
        let config = tls::client(&self.key, AlpnProtocol::Cluster).unwrap();
        let connection = ClientConnection::new(config, tls::any_name()).unwrap();
        let stream = StreamOwned::new(connection, tcp(port, address(number)));
        let mut link = Link::new(stream);
        let hello = CoordinatorHello::parse(&link.next()?.ok_or(io::ErrorKind::UnexpectedEof)?);
        let hello = hello.map_err(io::Error::other)?;
        let key = tls::peer_key(link.stream.conn.peer_certificates()).unwrap();
        hello.node(key).unwrap();
        Ok((link, hello))
    }

    /// Sends `join` from the port of board `number`. Returns the first answer other than a ping.
    pub fn tries(&self, port: &TcpListener, number: u8, join: &Join) -> FromCoordinator {
        let (mut link, _) = self.connect(port, number).unwrap();
        link.say(join);
        link.coordinator_says().unwrap()
    }

    /// A map that this node has signed as the coordinator.
    pub fn map(&self, version: MapVersion) -> SignedMap {
        let (node, certificates) = (self.public(), vec![self.certificate(1)]);
        let member = Member {
            number: 0,
            node,
            addresses: vec![],
            certificates,
            record: None,
            drained: false,
        };
        let map = Map::new(node, version, vec![member], vec![]);
        SignedMap::sign(map, self.certificate(1), &self.key).unwrap()
    }

    /// Acts as the coordinator for a board that connects to `port`. Returns the board's join.
    pub fn hold(
        &self,
        port: &TcpListener,
        version: MapVersion,
        statement: Option<SignedAppointment>,
    ) -> io::Result<(Link<Server>, Option<Join>)> {
        // The previous coordinator used the listener without blocking.
        port.set_nonblocking(false)?;
        let (stream, _) = port.accept()?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let config = tls::server(&self.key, AlpnProtocol::Cluster).unwrap();
        let stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let mut link = Link::new(stream);
        let (certificate, digest) = (self.certificate(1), None);
        link.say(&CoordinatorHello { certificate, version, digest, statement });
        let join = link.next()?.map(|payload| Join::parse(&payload).unwrap());
        Ok((link, join))
    }
}

fn tcp(port: &TcpListener, from: Ipv4Addr) -> TcpStream {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
    connect(&socket, &port.local_addr().unwrap()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Opens a connection from `from`, without sending anything.
pub fn plain(port: &TcpListener, from: Ipv4Addr) -> TcpStream {
    tcp(port, from)
}

impl<S: Read + Write> Link<S> {
    fn new(stream: S) -> Self {
        Self { stream, decoder: Decoder::default() }
    }

    /// Sends a message; the peer may have disconnected.
    pub fn say(&mut self, message: &impl Serialize) {
        let mut frame = vec![];
        encode(&serde_json::to_vec(message).unwrap(), &mut frame).unwrap();
        self.bytes(&frame);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// The next message; `None` once the other side has closed the connection.
    pub fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(payload) = self.decoder.next_payload().unwrap() {
                return Ok(Some(payload));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("it stays silent")
                }
                Err(_) => return Ok(None),
            }
        }
    }

    /// The coordinator's next message other than a ping.
    pub fn coordinator_says(&mut self) -> Option<FromCoordinator> {
        loop {
            match FromCoordinator::parse(&self.next().unwrap()?).unwrap() {
                FromCoordinator::Ping => {}
                other => return Some(other),
            }
        }
    }

    /// The board's next message other than a report.
    pub fn board_says(&mut self) -> Option<FromBoard> {
        loop {
            match FromBoard::parse(&self.next().unwrap()?).unwrap() {
                FromBoard::Report(_) => {}
                other => return Some(other),
            }
        }
    }

    /// Waits until the other side closes the connection.
    pub fn ends(&mut self) {
        while self.next().unwrap().is_some() {}
    }
}
