//! Clients of the gate: operators and others.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use octet_as_pid_1::TIMEOUT;
use octet_node::control::{CallError, Client, Decoder, Failure, FailureCode, PublicKey, UnitName};
use octet_node::hello::Hello;
use octet_node::key::PrivateKey;
use octet_node::tls;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Map, Value};

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The address of the gate, and the client's own address.
#[derive(Clone, Copy)]
pub struct At {
    pub gate: SocketAddr,
    pub from: Ipv4Addr,
    pub node: PublicKey,
}

impl At {
    /// A TCP connection without any data.
    pub fn tcp(&self) -> TcpStream {
        // Otherwise gates that are started meanwhile would inherit the connection and keep it open.
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        bind(&socket, &SocketAddrV4::new(self.from, 0)).unwrap();
        connect(&socket, &self.gate).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    /// Performs the TLS handshake with `key`, and returns the epoch of the gate's key.
    pub fn tls(&self, key: &PrivateKey) -> io::Result<(Stream, u64)> {
        greet(self.tcp(), key, self.node)
    }

    /// A connection that the gate relays to board `number`, before TLS.
    pub fn handed_on(&self, key: &PrivateKey, number: u64) -> Result<Stream, CallError> {
        let mut client = self.client(key)?.with_unit(Some("gate".parse().unwrap()));
        client.call("relay", object(serde_json::json!({ "board": number })))?;
        Ok(client.into_stream().unwrap())
    }

    /// The same after the TLS handshake with the gate of `node`.
    pub fn at_board(
        &self,
        key: &PrivateKey,
        number: u64,
        node: PublicKey,
    ) -> Result<Client<StreamOwned<ClientConnection, Stream>>, CallError> {
        Ok(Client::new(greet(self.handed_on(key, number)?, key, node)?.0))
    }

    pub fn client(&self, key: &PrivateKey) -> Result<Client<Stream>, CallError> {
        Ok(Client::new(self.tls(key)?.0))
    }

    /// Calls a verb of PID 1 on a new connection.
    pub fn ask(&self, key: &PrivateKey, verb: &str, args: Value) -> Result<Value, CallError> {
        self.client(key)?.call(verb, object(args))
    }

    /// Calls a verb of `unit` on a new connection.
    pub fn ask_unit(&self, key: &PrivateKey, unit: &str, verb: &str) -> Result<Value, CallError> {
        let unit: UnitName = unit.parse().unwrap();
        self.client(key)?.with_unit(Some(unit)).call(verb, Map::new())
    }
}

pub fn object(args: Value) -> Map<String, Value> {
    args.as_object().unwrap().clone()
}

pub fn failure(result: Result<Value, CallError>) -> Failure {
    match result {
        Err(CallError::Failure(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// Checks that the call was denied, with a message that contains `part`.
pub fn denied(result: Result<Value, CallError>, part: &str) {
    let failure = failure(result);
    assert_eq!(failure.code, FailureCode::Denied, "{failure}");
    assert!(failure.message.contains(part) && !failure.help.is_empty(), "{failure}");
}

/// Sends `bytes` as they are, and returns everything received until the gate closes the connection.
pub fn until_closed(stream: &mut (impl Read + Write), bytes: &[u8]) -> Vec<u8> {
    // The gate may close the connection during this.
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
    let (mut all, mut buffer) = (vec![], [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it stays open"),
            Err(_) => return all,
        }
    }
}

/// The messages of all failures in `bytes`.
pub fn errors(bytes: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    let payloads = std::iter::from_fn(|| decoder.next_payload().unwrap());
    payloads
        .map(|payload| serde_json::from_slice::<Value>(&payload).unwrap())
        .filter_map(|reply| Some(reply["error"]["message"].as_str()?.to_owned()))
        .collect()
}

/// Performs the TLS handshake with `key`, and verifies that the peer is the gate of `node`. Returns
/// the epoch of the gate's key.
fn greet<S: Read + Write>(
    stream: S,
    key: &PrivateKey,
    node: PublicKey,
) -> io::Result<(StreamOwned<ClientConnection, S>, u64)> {
    let config = tls::client(key, tls::AlpnProtocol::Control).unwrap();
    let connection = ClientConnection::new(config, tls::any_name()).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let mut header = [0; 8];
    stream.read_exact(&mut header)?;
    let length = u32::from_be_bytes(header[4..].try_into().unwrap());
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    let hello: Hello = serde_json::from_slice(&payload)?;
    let peer = tls::peer_key(stream.conn.peer_certificates()).unwrap();
    let epoch = hello.check(peer, node, 0).map_err(io::Error::other)?;
    Ok((stream, epoch))
}
