//! A minimal HTTP client.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A timeout that even a slow machine does not reach: a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The header field `name`, in lower case; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request over a connection of its own.
pub fn ask(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let fields: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    say(
        at,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
        ),
    )
}

/// Sends `head`, and returns the response.
pub fn say(at: SocketAddr, head: &str) -> Answer {
    parse(&exchange(at, head))
}

/// Sends `head`, and returns all that comes.
pub fn exchange(at: SocketAddr, head: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes).expect("late: no answer");
    bytes
}

pub fn get(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(at, "GET", path, headers)
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let code = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    };
    Answer { code, headers: lines.map(field).collect(), body: bytes[end + 4..].to_vec() }
}
