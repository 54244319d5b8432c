//! The lower bound: the same number of bytes to the same number of processes over TCP, and an
//! answer from each.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::node::end_with_parent;
use super::{Failed, TIMEOUT};

/// The argument that makes a process answer.
pub const ROLE: &str = "bare";

/// The answer: as long as a board's message that it has a map.
const ANSWER: [u8; 64] = [b'a'; 64];

pub struct Bare {
    streams: Vec<TcpStream>,
    bytes: Vec<u8>,
    children: Vec<Child>,
}

impl Bare {
    /// Starts `count` processes, each of which answers `length` bytes at a time.
    pub fn start(count: u8, length: usize) -> Result<Self, Failed> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port().to_string();
        let mut bare = Self { streams: vec![], bytes: vec![b'm'; length], children: vec![] };
        for _ in 0..count {
            let mut command = Command::new(std::env::current_exe()?);
            bare.children.push(command.args([ROLE, &port, &length.to_string()]).spawn()?);
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            bare.streams.push(stream);
        }
        bare.round()?;
        Ok(bare)
    }

    /// Returns the time from the first byte to the last answer.
    pub fn round(&mut self) -> Result<Duration, Failed> {
        let began = Instant::now();
        for stream in &mut self.streams {
            stream.write_all(&self.bytes)?;
        }
        for stream in &mut self.streams {
            stream.read_exact(&mut [0; ANSWER.len()])?;
        }
        Ok(began.elapsed())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Answers each `length` bytes, until the other end closes the connection.
pub fn answer(port: u16, length: usize) -> Result<Value, Failed> {
    end_with_parent()?;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    let mut bytes = vec![0; length];
    while stream.read_exact(&mut bytes).is_ok() {
        stream.write_all(&ANSWER)?;
    }
    Ok(Value::Null)
}
