//! Whoever asks for an object by HTTP, each time on a connection of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::noise::Noise;
use super::{Failed, TIMEOUT};

/// How much is read at once, in bytes.
const BUFFER: usize = 256 << 10;

/// Reads an object of `size` bytes to its end: how long it took, with the connection.
pub fn get(at: SocketAddr, path: &str, size: u64) -> Result<Duration, Failed> {
    let began = Instant::now();
    let mut stream = connect(at)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = BufReader::with_capacity(BUFFER, stream);
    self::head(&mut answer, "200")?;
    let came = io::copy(&mut answer, &mut io::sink())?;
    let took = began.elapsed();
    if came != size {
        return Err(format!("{came} bytes of {size} have come of {path}").into());
    }
    Ok(took)
}

/// Puts an object of `size` bytes: its path.
pub fn put(at: SocketAddr, token: &str, noise: Noise, size: u64) -> Result<String, Failed> {
    let mut stream = connect(at)?;
    let head = format!(
        "PUT /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    // Whoever refuses it says why, and reads no more.
    let sent = io::copy(&mut noise.of(size), &mut stream);
    let lines = self::head(&mut BufReader::new(stream), "201")?;
    sent?;
    let place = lines.iter().find_map(|line| line.strip_prefix("location: "));
    Ok(place.ok_or("nobody says where the object is")?.to_owned())
}

fn connect(at: SocketAddr) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// The lines of the head of an answer, which must have this code.
fn head(answer: &mut impl BufRead, code: &str) -> Result<Vec<String>, Failed> {
    let is_field = |line: &io::Result<String>| line.as_ref().map_or(true, |line| !line.is_empty());
    let lines = answer.lines().take_while(is_field).collect::<io::Result<Vec<_>>>()?;
    let first = lines.first().map_or("nothing", String::as_str);
    if first.split(' ').nth(1) != Some(code) {
        return Err(format!("{first}, and not {code}, was answered").into());
    }
    Ok(lines)
}
