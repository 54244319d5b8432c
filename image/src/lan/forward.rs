//! A port of the host that leads to one in the lan.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpStream};
use std::str::FromStr;

use super::http::{HostGuard, MAX_HEAD, RequestDecision};
use super::relay;

/// What `--forward` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortForward {
    pub protocol: ForwardProtocol,
    /// The port of this host; zero is any that is free.
    pub port: u16,
    /// Where it leads to: a name of the box's, or an address, which has no brackets here.
    pub host: String,
    pub host_port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardProtocol {
    Tcp,
    Udp,
}

/// The text says something else.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ForwardError {
    /// It has too few parts.
    #[error("expected [tcp:|udp:]PORT:HOST:PORT, such as 8081:board-1.octet.internal:8080")]
    Form,
    /// A part is no port.
    #[error("`{0}` is not a port; expected one as in 8081:board-1.octet.internal:8080")]
    Port(String),
    /// A part is no host.
    #[error(
        "`{0}` is neither a name nor an address; IPv6 stands in brackets, as in udp:5353:[fd00::1]:53"
    )]
    Host(String),
}

impl FromStr for PortForward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let (protocol, rest) = match text.split_once(':') {
            Some(("tcp", rest)) => (ForwardProtocol::Tcp, rest),
            Some(("udp", rest)) => (ForwardProtocol::Udp, rest),
            _ => (ForwardProtocol::Tcp, text),
        };
        let (port, rest) = rest.split_once(':').ok_or(ForwardError::Form)?;
        let (host, host_port) = rest.rsplit_once(':').ok_or(ForwardError::Form)?;
        let number = |text: &str| text.parse().map_err(|_| ForwardError::Port(text.to_owned()));
        let forward = Self {
            protocol,
            port: number(port)?,
            host: parse_host(host).ok_or_else(|| ForwardError::Host(host.to_owned()))?,
            host_port: number(host_port)?,
        };
        // There is nothing at that one.
        if forward.host_port == 0 { Err(ForwardError::Port("0".to_owned())) } else { Ok(forward) }
    }
}

fn parse_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = (1..=253).contains(&host.len()) && host.bytes().all(is_plain);
    is_name.then(|| host.to_owned())
}

impl fmt::Display for PortForward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.protocol, self.port, self.destination())
    }
}

impl fmt::Display for ForwardProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl PortForward {
    /// Where it leads to, as people write it.
    pub fn destination(&self) -> String {
        match &self.host {
            host if host.contains(':') => format!("[{host}]:{}", self.host_port),
            host => format!("{host}:{}", self.host_port),
        }
    }

    /// Serves one client by TCP.
    ///
    /// # Errors
    /// There is nobody in the lan, or one of the two has gone.
    pub fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let server = relay::dial(&self.host, self.host_port).inspect_err(|error| {
            eprintln!("forward    cannot connect to {}: {error}", self.destination());
        })?;
        relay::relay(client, &server, || self.upload(client, &server))
    }

    /// Carries what the client sends, unless it is a request by another name.
    fn upload(&self, mut client: &TcpStream, mut server: &TcpStream) -> io::Result<()> {
        let mut guard = HostGuard::new(&self.host);
        let mut buffer = [0; MAX_HEAD];
        loop {
            let count = client.read(&mut buffer)?;
            if count == 0 {
                // Half of a request, which is held back, ends here, too.
                return server.shutdown(Shutdown::Write);
            }
            match guard.push(&buffer[..count]) {
                RequestDecision::Forward(bytes) => server.write_all(&bytes)?,
                RequestDecision::Pass(bytes) => {
                    server.write_all(&bytes)?;
                    return relay::copy(client, server);
                }
                RequestDecision::Refuse => {
                    self.refuse(client)?;
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
            }
        }
    }

    /// Tells a browser why it gets nothing.
    fn refuse(&self, mut client: &TcpStream) -> io::Result<()> {
        let destination = self.destination();
        let text = format!(
            "This port leads to {destination} in the lan of a box.\n\
             Ask for it by the name localhost, 127.0.0.1, [::1] or that of the destination.\n"
        );
        let length = text.len();
        write!(
            client,
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{text}"
        )?;
        relay::close(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn it_is_read_as_it_is_written() {
        let forward = |protocol, port, host: &str, host_port| PortForward {
            protocol,
            port,
            host: host.to_owned(),
            host_port,
        };
        for (text, value) in [
            ("8081:board-1.octet.internal:8080", {
                forward(ForwardProtocol::Tcp, 8081, "board-1.octet.internal", 8080)
            }),
            ("tcp:0:10.20.1.2:80", forward(ForwardProtocol::Tcp, 0, "10.20.1.2", 80)),
            ("udp:5353:[fd00::1]:53", forward(ForwardProtocol::Udp, 5353, "fd00::1", 53)),
        ] {
            let parsed: PortForward = text.parse().unwrap();
            assert_eq!(parsed, value);
            assert_eq!(parsed.to_string().parse(), Ok(value));
        }
        for (text, part) in [
            ("8081", "expected"),
            ("board-1:8080", "expected"),
            ("sctp:1:a:2", "`sctp`"),
            ("65536:a:1", "`65536`"),
            ("1:a:0", "`0`"),
            ("1:a:b", "`b`"),
            ("1::2", "``"),
            ("1:fd00::1:2", "`fd00::1`"),
            ("1:[a]:2", "`[a]`"),
            ("1:http://a:2", "`http://a`"),
        ] {
            let error = text.parse::<PortForward>().unwrap_err().to_string();
            // Each shows how it is written.
            let example = error.split_whitespace().last().unwrap();
            assert!(
                error.contains(part) && example.parse::<PortForward>().is_ok(),
                "{text}: {error}"
            );
        }
    }

    /// A port that leads to `serve`.
    fn forwarded(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let host_port = there.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in there.incoming() {
                serve(client.unwrap());
            }
        });
        let forward = format!("0:127.0.0.1:{host_port}").parse::<PortForward>().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        relay::accept(listener, &Arc::default(), move |client| forward.serve(client));
        at
    }

    fn read(mut from: &TcpStream, count: usize) -> String {
        let mut bytes = vec![0; count];
        from.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn whoever_speaks_first_the_other_answers() {
        let at = forwarded(|mut client| {
            client.write_all(b"220 ready\r\n").unwrap();
            // Without the end of a line.
            let asked = read(&client, 4);
            write!(client, "{asked} what?").unwrap();
            let asked = read(&client, 7);
            write!(client, "{asked} well").unwrap();
        });
        let mut client = TcpStream::connect(at).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!(read(&client, 11), "220 ready\r\n");
        client.write_all(b"HELO").unwrap();
        assert_eq!(read(&client, 10), "HELO what?");
        client.write_all(b" me\r\nyo").unwrap();
        assert_eq!(read(&client, 12), " me\r\nyo well");
    }

    #[test]
    fn a_page_of_another_name_does_not_get_through() {
        let at = forwarded(|mut client| {
            let mut asked = Vec::new();
            let mut buffer = [0; 1024];
            while !asked.ends_with(b"\r\n\r\n") {
                match client.read(&mut buffer) {
                    Ok(count @ 1..) => asked.extend_from_slice(&buffer[..count]),
                    _ => return,
                }
            }
            let text = "of the box";
            let length = text.len();
            write!(client, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}").unwrap();
        });
        let get = |host: &str, body: &[u8]| {
            let mut client = TcpStream::connect(at).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            write!(client, "POST / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
            // It may be refused already.
            let _ = client.write_all(body);
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        };
        for host in ["localhost", "127.0.0.1:8080"] {
            let answer = get(host, b"");
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("of the box"));
        }
        for body in [&b""[..], &[b'x'; 20_000]] {
            let answer = get("evil.example", body);
            assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
            assert!(answer.contains("localhost") && !answer.contains("of the box"), "{answer}");
        }
    }
}
