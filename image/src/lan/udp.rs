//! A UDP port of the host that leads to one in the lan. Each client has a socket of its own there, so that an answer finds
//! its way back.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Clients at once; for one more, the one that was idle for longest goes.
const MAX_CLIENTS: usize = 64;

/// A client is forgotten after so long without a datagram, as routers do (RFC 4787, 4.3).
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// No datagram is longer, in bytes.
const MAX_DATAGRAM: usize = 65535;

/// Datagrams that are read of one socket before the others have their turn.
const BURST: usize = 32;

/// Where a port leads to, and for whom.
pub struct UdpForward<'a> {
    /// The port of the host.
    listener: &'a UdpSocket,
    host: &'a str,
    port: u16,
    idle_timeout: Duration,
    clients: Vec<Client>,
}

struct Client {
    address: SocketAddr,
    server: UdpSocket,
    last_active: Instant,
}

impl<'a> UdpForward<'a> {
    /// For clients of `listener`, which leads to `port` of `host`.
    pub fn new(listener: &'a UdpSocket, host: &'a str, port: u16) -> Self {
        Self { listener, host, port, idle_timeout: IDLE_TIMEOUT, clients: Vec::new() }
    }

    /// Carries datagrams until the host refuses. What cannot be sent is lost, as anywhere.
    pub fn serve(&mut self) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let (of_listener, of_servers) = self.wait()?;
            let now = Instant::now();
            // First, while the list is the one that was looked at.
            for (client, _) in self.clients.iter_mut().zip(of_servers).filter(|(_, ready)| *ready) {
                client.download(self.listener, &mut buffer, now);
            }
            if of_listener {
                self.upload(&mut buffer, now);
            }
            self.clients.retain(|client| now < client.last_active + self.idle_timeout);
        }
    }

    /// Waits until there is something to be read or somebody to be forgotten. Returns where.
    fn wait(&self) -> io::Result<(bool, Vec<bool>)> {
        let sockets = [self.listener].into_iter().chain(self.clients.iter().map(|it| &it.server));
        let mut fds: Vec<_> = sockets.map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let idle = self.clients.iter().map(|client| client.last_active + self.idle_timeout).min();
        let idle = idle.map(|idle| idle.saturating_duration_since(Instant::now()));
        let timeout = idle.and_then(|idle| Timespec::try_from(idle).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok((ready.next().unwrap_or_default(), ready.collect()))
    }

    /// Carries what clients have sent.
    fn upload(&mut self, buffer: &mut [u8], now: Instant) {
        for _ in 0..BURST {
            let Ok((count, address)) = self.listener.recv_from(buffer) else { return };
            match self.client(address, now) {
                Ok(client) => {
                    client.last_active = now;
                    let _ = client.server.send(&buffer[..count]);
                }
                Err(error) => {
                    eprintln!("forward    cannot send to {}: {error}", self.host);
                    return;
                }
            }
        }
    }

    /// The client with this address, which may be a new one.
    fn client(&mut self, address: SocketAddr, now: Instant) -> io::Result<&mut Client> {
        let known = self.clients.iter().position(|client| client.address == address);
        let at = match known {
            Some(at) => at,
            None => {
                let server = connect(self.host, self.port)?;
                if self.clients.len() >= MAX_CLIENTS {
                    let last = |at: &usize| self.clients[*at].last_active;
                    let oldest = (0..self.clients.len()).min_by_key(last).unwrap_or_default();
                    self.clients.swap_remove(oldest);
                }
                self.clients.push(Client { address, server, last_active: now });
                self.clients.len() - 1
            }
        };
        Ok(&mut self.clients[at])
    }
}

impl Client {
    /// Carries what the server has answered.
    fn download(&mut self, listener: &UdpSocket, buffer: &mut [u8], now: Instant) {
        for _ in 0..BURST {
            match self.server.recv(buffer) {
                Ok(count) => {
                    self.last_active = now;
                    let _ = listener.send_to(&buffer[..count], self.address);
                }
                // Nobody listens there yet.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }
}

/// A socket that has datagrams of the first address of `host` alone.
fn connect(host: &str, port: u16) -> io::Result<UdpSocket> {
    let address = (host, port).to_socket_addrs()?.next().ok_or(ErrorKind::HostUnreachable)?;
    let ours: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(ours)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket
    }

    /// A server, a port that leads to it, and a client of that.
    fn forwarded(idle_timeout: Duration) -> (UdpSocket, SocketAddr, UdpSocket) {
        let (server, listener) = (socket(), socket());
        let [there, at] = [&server, &listener].map(|socket| socket.local_addr().unwrap());
        thread::spawn(move || {
            let mut clients = UdpForward::new(&listener, "127.0.0.1", there.port());
            clients.idle_timeout = idle_timeout;
            clients.serve().unwrap();
        });
        let client = socket();
        client.connect(at).unwrap();
        (server, at, client)
    }

    /// Who has sent `what` to the server.
    fn received_from(server: &UdpSocket, what: &[u8]) -> SocketAddr {
        let mut buffer = [0; 100];
        let (count, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], what);
        from
    }

    fn receive(client: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 100];
        let count = client.recv(&mut buffer).unwrap();
        buffer[..count].to_vec()
    }

    #[test]
    fn each_client_has_its_own_answers() {
        let (server, at, one) = forwarded(IDLE_TIMEOUT);
        let two = socket();
        two.connect(at).unwrap();
        one.send(b"one").unwrap();
        let first = received_from(&server, b"one");
        two.send(b"two").unwrap();
        let second = received_from(&server, b"two");
        assert_ne!(first, second);
        // In the other order.
        server.send_to(b"to two", second).unwrap();
        server.send_to(b"to one", first).unwrap();
        assert_eq!([receive(&one), receive(&two)], [b"to one", b"to two"]);
        one.send(b"again").unwrap();
        assert_eq!(received_from(&server, b"again"), first);
    }

    #[test]
    fn of_too_many_clients_the_one_that_is_idle_goes() {
        let (server, at, first) = forwarded(IDLE_TIMEOUT);
        first.send(b"first").unwrap();
        let before = received_from(&server, b"first");
        let others: Vec<_> = (0..MAX_CLIENTS)
            .map(|_| {
                let other = socket();
                other.send_to(b"other", at).unwrap();
                (received_from(&server, b"other"), other)
            })
            .collect();
        // The last of these is known still; the first of all is not.
        let (known, last) = others.last().unwrap();
        last.send_to(b"last", at).unwrap();
        assert_eq!(received_from(&server, b"last"), *known);
        server.send_to(b"lost", before).unwrap();
        first.send(b"again").unwrap();
        let after = received_from(&server, b"again");
        server.send_to(b"found", after).unwrap();
        assert_eq!(receive(&first), b"found");
    }

    #[test]
    fn a_client_that_is_idle_ends() {
        let (server, _, client) = forwarded(Duration::ZERO);
        client.send(b"first").unwrap();
        let before = received_from(&server, b"first");
        // Its socket goes with it, which the server is told of.
        server.connect(before).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while server.send(b"late").and_then(|_| server.take_error()).is_ok_and(|it| it.is_none()) {
            assert!(Instant::now() < deadline, "it has not ended");
        }
    }
}
