//! Sends data to an echo service (`listener`), and returns the received data.
//!
//! The data is `mark`, repeated with a number each, and every packet has it completely. Only the
//! caller knows it, so a test can search for it elsewhere.
//!
//! After `begin` a connection stays open and sends a little at a time, until `end`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use octet_guests::service::{notify, serve, unknown};
use octet_node::control::{Failure, FailureCode, Request};
use serde_json::{Value, json};

/// The timeout of an echo, for busy hosts.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The number of attempts for an unanswered datagram.
const TRIES: usize = 3;

/// The size of a piece on an open connection, in bytes, and the pause after it: low enough that
/// emulated nodes have CPU time left.
const PIECE: usize = 500;
const RETRY_DELAY: Duration = Duration::from_millis(250);

fn main() -> io::Result<()> {
    // The last socket, with its answer unread: a test finds it in the kernel's memory.
    let mut last = None;
    let mut talk: Option<Talk> = None;
    serve(
        || notify("READY=1"),
        move |request| {
            let answer = match request.verb.as_str() {
                "tcp" => Said::of(request).and_then(|said| tcp(&said)),
                "udp" => Said::of(request).and_then(|said| {
                    let (socket, answer) = udp(&said)?;
                    last = Some(socket);
                    Ok(answer)
                }),
                "get" => get(request),
                "who" => who(request),
                "word" => Said::of(request).and_then(|said| word(&said).map(|_| Value::Null)),
                "begin" => Talk::begin(request).map(|begun| {
                    talk = Some(begun);
                    Value::Null
                }),
                "so-far" => talk.as_ref().map(Talk::so_far).ok_or_else(none),
                "end" => talk.take().ok_or_else(none).and_then(Talk::end),
                verb => return Err(unknown(verb)),
            };
            answer.map_err(|error| {
                Failure::new(FailureCode::Failed, error.to_string(), "read the program")
            })
        },
    )
}

fn none() -> io::Error {
    io::Error::other("there is no connection that goes on")
}

fn wrong() -> io::Error {
    io::Error::other("TO MARK BYTES")
}

/// The peer, and the mark.
fn whom(request: &Request) -> io::Result<(SocketAddr, &str)> {
    let text = |name| request.args.get(name).and_then(Value::as_str).ok_or_else(wrong);
    Ok((text("to")?.parse().map_err(io::Error::other)?, text("mark")?))
}

/// The mark with consecutive numbers, without an end.
fn words(mark: String) -> impl Iterator<Item = u8> {
    (0u32..).flat_map(move |number| format!("{mark} {number:08} ").into_bytes())
}

/// An open connection.
struct Talk {
    said: Arc<AtomicUsize>,
    back: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    /// The threads of both directions, which return the sent and the received data.
    both: [JoinHandle<io::Result<Vec<u8>>>; 2],
}

impl Talk {
    fn begin(request: &Request) -> io::Result<Self> {
        let (to, mark) = whom(request)?;
        let mut words = words(mark.to_owned());
        let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
        let mut answers = BufReader::new(stream.try_clone()?);
        // The peer sends a greeting first.
        answers.read_line(&mut String::new())?;
        let (said, back) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let is_over = Arc::<AtomicBool>::default();
        let (counts, ends) = (Arc::clone(&said), Arc::clone(&is_over));
        let says = thread::spawn(move || {
            let mut all = vec![];
            while !ends.load(Ordering::Relaxed) {
                let piece: Vec<u8> = words.by_ref().take(PIECE).collect();
                stream.write_all(&piece)?;
                all.extend(piece);
                counts.store(all.len(), Ordering::Relaxed);
                thread::sleep(RETRY_DELAY);
            }
            stream.shutdown(Shutdown::Write)?;
            Ok(all)
        });
        let counts = Arc::clone(&back);
        let hears = thread::spawn(move || {
            let (mut all, mut piece) = (vec![], [0; PIECE]);
            loop {
                match answers.read(&mut piece)? {
                    0 => return Ok(all),
                    count => all.extend_from_slice(&piece[..count]),
                }
                counts.store(all.len(), Ordering::Relaxed);
            }
        });
        Ok(Self { said, back, is_over, both: [says, hears] })
    }

    fn so_far(&self) -> Value {
        let count = |of: &AtomicUsize| of.load(Ordering::Relaxed);
        json!({ "said": count(&self.said), "back": count(&self.back) })
    }

    fn end(self) -> io::Result<Value> {
        self.is_over.store(true, Ordering::Relaxed);
        let panicked = |_| io::Error::other("a thread has panicked");
        let [said, back] = self.both;
        let (said, back) = (said.join().map_err(panicked)??, back.join().map_err(panicked)??);
        Ok(told(&said, &back))
    }
}

fn told(said: &[u8], back: &[u8]) -> Value {
    json!({ "said": said.len(), "back": back.len(), "same": said == back })
}

/// The data to send, and the peer.
struct Said {
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Said {
    fn of(request: &Request) -> io::Result<Self> {
        let (to, mark) = whom(request)?;
        let length = request.args.get("bytes").and_then(Value::as_u64);
        let length = length.and_then(|it| it.try_into().ok()).ok_or_else(wrong)?;
        Ok(Self { to, bytes: words(mark.to_owned()).take(length).collect() })
    }
}

/// Requests a page over HTTP, and returns the whole response.
fn get(request: &Request) -> io::Result<Value> {
    let wrong = || io::Error::other("TO PATH");
    let text = |name| request.args.get(name).and_then(Value::as_str).ok_or_else(wrong);
    let to = text("to")?.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {} HTTP/1.0\r\n\r\n", text("path")?)?;
    let mut page = String::new();
    stream.take(1 << 20).read_to_string(&mut page)?;
    Ok(page.into())
}

/// Asks the service who this node is for it, from the address `from` if that is given.
fn who(request: &Request) -> io::Result<Value> {
    let text = |name| request.args.get(name).and_then(Value::as_str);
    let to: SocketAddr = text("to").ok_or_else(wrong)?.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind((text("from").unwrap_or("::"), 0))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut buffer = [0; 100];
    socket.send(b"who?")?;
    let count = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into())
}

/// Sends the data over one connection, and closes it.
fn tcp(said: &Said) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&said.to, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    // The peer sends a greeting first.
    answers.read_line(&mut String::new())?;
    let back = thread::spawn(move || {
        let mut back = vec![];
        answers.read_to_end(&mut back).map(|_| back)
    });
    stream.write_all(&said.bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let back = back.join().map_err(|_| io::Error::other("the reader has panicked"))??;
    Ok(told(&said.bytes, &back))
}

/// Sends one datagram, without waiting for an answer.
fn word(said: &Said) -> io::Result<UdpSocket> {
    let any = if said.to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(said.to)?;
    socket.send(&said.bytes)?;
    Ok(socket)
}

/// Sends one datagram until it is echoed.
fn udp(said: &Said) -> io::Result<(UdpSocket, Value)> {
    let socket = word(said)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    let mut buffer = vec![0; said.bytes.len() + 1];
    for _ in 0..TRIES {
        if let Ok(count) = socket.peek(&mut buffer) {
            return Ok((socket, told(&said.bytes, &buffer[..count])));
        }
        socket.send(&said.bytes)?;
    }
    Err(io::Error::from(io::ErrorKind::TimedOut))
}
