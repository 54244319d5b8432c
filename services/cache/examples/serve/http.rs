//! An HTTP client that downloads and uploads objects, each over a connection of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::noise::Noise;
use super::{Failed, TIMEOUT};

/// The read size, in bytes.
const BUFFER: usize = 256 << 10;

/// Downloads an object of `size` bytes. Returns the duration, the connection included.
pub fn get(at: SocketAddr, path: &str, size: u64) -> Result<Duration, Failed> {
    get_of(at, "localhost", path, size)
}

/// Downloads `size` bytes of a host. Returns the duration, the connection included.
pub fn get_of(at: SocketAddr, host: &str, path: &str, size: u64) -> Result<Duration, Failed> {
    let began = Instant::now();
    let mut stream = connect(at)?;
    stream.write_all(request(host, path).as_bytes())?;
    let mut answer = BufReader::with_capacity(BUFFER, stream);
    head(&mut answer, "200")?;
    let came = io::copy(&mut answer, &mut io::sink())?;
    let took = began.elapsed();
    if came != size {
        return Err(format!("{came} bytes of {size} have come of {path}").into());
    }
    Ok(took)
}

/// The time from a request to the first byte of the response's body. The connection is there before.
pub fn first_byte(at: SocketAddr, host: &str, path: &str) -> Result<Duration, Failed> {
    let mut stream = connect(at)?;
    stream.set_nodelay(true)?;
    let began = Instant::now();
    stream.write_all(request(host, path).as_bytes())?;
    let mut answer = BufReader::with_capacity(BUFFER, stream);
    head(&mut answer, "200")?;
    answer.fill_buf()?;
    let took = began.elapsed();
    io::copy(&mut answer, &mut io::sink())?;
    Ok(took)
}

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// Uploads an object of `size` bytes. Returns its path.
pub fn put(at: SocketAddr, token: &str, noise: Noise, size: u64) -> Result<String, Failed> {
    let mut stream = connect(at)?;
    let head = format!(
        "PUT /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    // A server that refuses the upload responds early, and stops reading.
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

/// Reads the header lines of a response, which must have the status code `code`.
fn head(answer: &mut impl BufRead, code: &str) -> Result<Vec<String>, Failed> {
    let is_field = |line: &io::Result<String>| line.as_ref().map_or(true, |line| !line.is_empty());
    let lines = answer.lines().take_while(is_field).collect::<io::Result<Vec<_>>>()?;
    let first = lines.first().map_or("nothing", String::as_str);
    if first.split(' ').nth(1) != Some(code) {
        return Err(format!("{first}, and not {code}, was answered").into());
    }
    Ok(lines)
}
