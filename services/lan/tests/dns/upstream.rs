//! An upstream whose answers the test defines, and which records all queries.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};

/// A received query.
pub struct Asked {
    pub message: Message,
    pub from: SocketAddr,
    pub tcp: bool,
    /// The number of queries before it.
    pub before: usize,
}

pub type Say = Vec<Vec<u8>>;

pub struct Upstream {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Asked {
    pub fn name(&self) -> String {
        self.message.queries[0].name.to_ascii().to_lowercase()
    }

    pub fn kind(&self) -> RecordType {
        self.message.queries[0].query_type
    }

    pub fn empty(&self) -> Message {
        let mut answer = Message::response(self.message.metadata.id, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.queries.clone_from(&self.message.queries);
        answer
    }

    pub fn with(&self, records: Vec<Record>) -> Message {
        let mut answer = self.empty();
        answer.answers = records;
        answer
    }

    /// An answer with `address` for the queried name.
    pub fn address(&self, address: &str) -> Message {
        let data = RData::A(A(address.parse::<Ipv4Addr>().unwrap()));
        self.with(vec![Record::from_rdata(self.message.queries[0].name.clone(), 300, data)])
    }
}

impl Upstream {
    /// An upstream that sends `answer` for each query.
    pub fn new(answer: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let (asked, over) = (Arc::default(), Arc::default());
        let answer = Arc::new(answer);
        let mut upstream = Self { address, asked, over, threads: vec![] };
        let (by_udp, by_tcp) = (upstream.memory(), upstream.memory());
        let answers = Arc::clone(&answer);
        let over = Arc::clone(&upstream.over);
        upstream.threads.push(thread::spawn(move || {
            let mut buffer = [0; 65536];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).unwrap();
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let asked = by_udp(&buffer[..length], from, false);
                for bytes in answers(&asked) {
                    udp.send_to(&bytes, from).unwrap();
                }
            }
        }));
        let over = Arc::clone(&upstream.over);
        upstream.threads.push(thread::spawn(move || {
            loop {
                let (mut stream, from) = tcp.accept().unwrap();
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut bytes = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut bytes).unwrap();
                for bytes in answer(&by_tcp(&bytes, from, true)) {
                    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length, &bytes[..]].concat()).unwrap();
                }
            }
        }));
        upstream
    }

    /// An upstream with an address for every name.
    pub fn honest() -> Self {
        Self::new(|asked| vec![asked.address("192.0.2.80").to_vec().unwrap()])
    }

    /// The queries so far, as `name. TYPE`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn memory(&self) -> impl Fn(&[u8], SocketAddr, bool) -> Asked + use<> {
        let all = Arc::clone(&self.asked);
        move |bytes, from, tcp| {
            let message = Message::from_vec(bytes).unwrap();
            let mut all = all.lock().unwrap();
            let asked = Asked { message, from, tcp, before: all.len() };
            let way = if tcp { " tcp" } else { "" };
            all.push(format!("{} {}{way}", asked.name(), asked.kind()));
            asked
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[], self.address);
        let _ = std::net::TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}
