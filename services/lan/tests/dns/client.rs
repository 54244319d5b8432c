//! A DNS client.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

/// A timeout that only a hanging test reaches.
const LONGER: Duration = Duration::from_secs(180);

/// A client by UDP.
pub struct Client {
    pub socket: UdpSocket,
}

pub fn question(id: u16, name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.queries.push(Query::query(name.parse::<Name>().unwrap(), kind));
    message
}

/// The answer's records as text, without names and TTLs.
pub fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

impl Client {
    /// A client at `address` that asks `server`.
    pub fn new(address: &str, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.set_read_timeout(Some(LONGER)).unwrap();
        socket.connect(server).unwrap();
        Self { socket }
    }

    pub fn send(&self, message: &Message) {
        self.socket.send(&message.to_vec().unwrap()).unwrap();
    }

    pub fn receive(&self) -> Message {
        let mut buffer = [0; 65536];
        let length = self.socket.recv(&mut buffer).unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    pub fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.send(&question(7, name, kind));
        let answer = self.receive();
        assert_eq!((answer.metadata.id, answer.queries.len()), (7, 1));
        answer
    }

    /// The data of the answer to a query of type A.
    pub fn address(&self, name: &str) -> Vec<String> {
        data(&self.ask(name, RecordType::A))
    }
}

/// Sends messages over a TCP stream, each with its length.
pub fn send_all(stream: &mut TcpStream, messages: &[Message]) {
    let mut bytes = vec![];
    for message in messages {
        let message = message.to_vec().unwrap();
        bytes.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
    }
    stream.write_all(&bytes).unwrap();
}

/// The next message of a TCP stream; `None` if the peer has closed it.
pub fn receive(stream: &mut TcpStream) -> Option<Message> {
    stream.set_read_timeout(Some(LONGER)).unwrap();
    let mut length = [0; 2];
    if let Err(error) = stream.read_exact(&mut length) {
        let ended = matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset);
        assert!(ended, "{error}");
        return None;
    }
    let mut bytes = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut bytes).unwrap();
    Some(Message::from_vec(&bytes).unwrap())
}
