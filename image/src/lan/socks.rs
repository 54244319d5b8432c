//! A SOCKS5 server (RFC 1928) that connects, and does nothing else. Whoever can reach its port may use it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::relay;

/// The version that each message begins with.
const VERSION: u8 = 5;

/// Ways to authenticate: by nothing, and "none of yours".
const NO_AUTHENTICATION: u8 = 0;
const NO_ACCEPTABLE_METHODS: u8 = 0xFF;

const CONNECT: u8 = 1;

const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// How long a client may take for each part of its request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is answered to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Reply {
    Succeeded = 0,
    GeneralFailure = 1,
    NetworkUnreachable = 3,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    CommandNotSupported = 7,
    AddressTypeNotSupported = 8,
}

/// Where a client wants to go: a name or an address, and a port.
type Destination = (String, u16);

/// Serves one client.
///
/// # Errors
/// It does not speak SOCKS5, is refused, or has gone.
pub fn serve(client: &TcpStream) -> io::Result<()> {
    client.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    let destination = handshake(client)?;
    client.set_read_timeout(None)?;
    let dialled = destination
        .and_then(|(host, port)| relay::dial(&host, port).map_err(|error| Reply::of(error.kind())));
    match dialled {
        Ok(server) => {
            answer(client, Reply::Succeeded, server.local_addr()?)?;
            relay::relay(client, &server, || relay::copy(client, &server))
        }
        Err(reply) => {
            answer(client, reply, (Ipv4Addr::UNSPECIFIED, 0).into())?;
            relay::close(client)
        }
    }
}

/// Reads what the client wants, without a byte of what follows.
fn handshake(mut client: impl Read + Write) -> io::Result<Result<Destination, Reply>> {
    let [VERSION, count] = read(&mut client)? else { return Err(ErrorKind::InvalidData.into()) };
    let methods = read_some(&mut client, count)?;
    if !methods.contains(&NO_AUTHENTICATION) {
        client.write_all(&[VERSION, NO_ACCEPTABLE_METHODS])?;
        return Err(ErrorKind::PermissionDenied.into());
    }
    client.write_all(&[VERSION, NO_AUTHENTICATION])?;
    // The third byte is reserved.
    let [VERSION, command, _, kind] = read(&mut client)? else {
        return Err(ErrorKind::InvalidData.into());
    };
    let host = match kind {
        IPV4 => Ipv4Addr::from(read::<4>(&mut client)?).to_string(),
        IPV6 => Ipv6Addr::from(read::<16>(&mut client)?).to_string(),
        DOMAIN => {
            let [length] = read(&mut client)?;
            let name = read_some(&mut client, length)?;
            String::from_utf8(name).map_err(|_| ErrorKind::InvalidData)?
        }
        // Nobody knows how long it is.
        _ => return Ok(Err(Reply::AddressTypeNotSupported)),
    };
    let port = u16::from_be_bytes(read(&mut client)?);
    Ok(if command == CONNECT { Ok((host, port)) } else { Err(Reply::CommandNotSupported) })
}

fn read<const N: usize>(client: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_some(client: &mut impl Read, count: u8) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(count)];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Answers a request; `bound` is our address at the other end.
fn answer(mut client: impl Write, reply: Reply, bound: SocketAddr) -> io::Result<()> {
    let mut message = vec![VERSION, reply as u8, 0];
    match bound.ip() {
        IpAddr::V4(ip) => {
            message.push(IPV4);
            message.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            message.push(IPV6);
            message.extend(ip.octets());
        }
    }
    message.extend(bound.port().to_be_bytes());
    client.write_all(&message)
}

impl Reply {
    /// Why there is no connection.
    fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConnectionRefused => Self::ConnectionRefused,
            ErrorKind::NetworkUnreachable => Self::NetworkUnreachable,
            ErrorKind::HostUnreachable | ErrorKind::TimedOut => Self::HostUnreachable,
            _ => Self::GeneralFailure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;

    /// A client that has sent all that it ever will.
    struct Client<'a> {
        sends: &'a [u8],
        gets: Vec<u8>,
    }

    impl Read for Client<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.sends.read(buffer)
        }
    }

    impl Write for Client<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.gets.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A client's greeting and request.
    fn request(command: u8, host: &[u8], port: u16) -> Vec<u8> {
        [&[5, 1, 0, 5, command, 0], host, &port.to_be_bytes()].concat()
    }

    fn domain(name: &str) -> Vec<u8> {
        [&[3, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat()
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_request_or_none(
            bytes in prop::collection::vec(any::<u8>(), 0..700),
            head in prop::sample::select(vec![&b""[..], &[5, 1, 0, 5, 1, 0], &[5, 2, 0, 2, 5, 1, 0, 3]]),
        ) {
            let sent = [head, &bytes].concat();
            let mut client = Client { sends: &sent, gets: Vec::new() };
            let asked = handshake(&mut client);
            // A greeting of 257 bytes, and a request of 262.
            prop_assert!(sent.len() - client.sends.len() <= 519);
            prop_assert!([0, 2].contains(&client.gets.len()));
            if let Ok(Ok((host, _))) = asked {
                prop_assert!(host.len() <= 255);
            }
        }

        #[test]
        fn what_is_asked_for_is_read_and_no_byte_more(
            name in "[a-z0-9.-]{0,255}",
            port: u16,
            after in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let sent = [request(CONNECT, &domain(&name), port), after.clone()].concat();
            let mut client = Client { sends: &sent, gets: Vec::new() };
            prop_assert_eq!(handshake(&mut client).unwrap(), Ok((name, port)));
            prop_assert_eq!(client.sends, &after[..]);
        }
    }

    /// What a client of the server at `server` gets for what it `sends`.
    fn ask(server: SocketAddr, sends: &[u8]) -> Vec<u8> {
        let mut client = TcpStream::connect(server).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        client.write_all(sends).unwrap();
        // What is no request may have ended it already.
        let _ = client.shutdown(std::net::Shutdown::Write);
        let mut gets = Vec::new();
        let _ = client.read_to_end(&mut gets);
        gets
    }

    #[test]
    fn clients_are_connected_by_address_and_by_name_and_told_why_not() {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = there.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in there.incoming() {
                let mut text = String::new();
                let mut client = client.unwrap();
                client.read_to_string(&mut text).unwrap();
                client.write_all(text.to_uppercase().as_bytes()).unwrap();
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        relay::accept(listener, &Arc::default(), serve);
        let by_address = [IPV4, 127, 0, 0, 1];
        let mapped: Ipv6Addr = "::ffff:127.0.0.1".parse().unwrap();
        for host in
            [&by_address[..], &domain("localhost"), &[&[IPV6][..], &mapped.octets()].concat()]
        {
            let gets = ask(server, &[&request(CONNECT, host, port), &b"hello"[..]].concat());
            // The method, then the reply with an address, then the other's words.
            let (method, reply) = gets.split_at(2);
            assert_eq!(method, [5, 0]);
            assert_eq!(reply[..3], [5, 0, 0], "{reply:?}");
            assert!(reply.ends_with(b"HELLO"), "{reply:?}");
        }
        let code = |sends: &[u8]| ask(server, sends).get(3).copied();
        for command in [2, 3] {
            assert_eq!(code(&request(command, &by_address, port)), Some(7));
        }
        // Nobody else gets the port, and nobody listens there.
        let bound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&bound, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let nobody = SocketAddr::try_from(getsockname(&bound).unwrap()).unwrap().port();
        assert_eq!(code(&request(CONNECT, &by_address, nobody)), Some(5));
        let no_name = domain(&"a".repeat(64));
        assert_eq!(code(&request(CONNECT, &no_name, port)), Some(4));
        assert_eq!(code(&request(CONNECT, &[2, 0], port)), Some(8));
        // By a password alone; and what is not SOCKS5.
        assert_eq!(ask(server, &[5, 1, 2]), [5, 0xFF]);
        for other in [&b"\x04\x01\0\x50\x7f\0\0\x01\0"[..], b"GET / HTTP/1.1\r\n\r\n"] {
            assert_eq!(ask(server, other), b"");
        }
    }

    #[test]
    fn a_client_is_told_why_it_is_not_connected() {
        for (kind, code) in [
            (ErrorKind::NetworkUnreachable, 3),
            (ErrorKind::HostUnreachable, 4),
            (ErrorKind::TimedOut, 4),
            (ErrorKind::ConnectionRefused, 5),
            (ErrorKind::Other, 1),
        ] {
            assert_eq!(Reply::of(kind) as u8, code);
        }
    }
}
