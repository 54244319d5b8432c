//! TCP connections of programs of the host: each is carried to one in the lan, by two threads.

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Connections that may be open at once.
const MAX_CONNECTIONS: usize = 256;

/// How long one address may take to answer, and how many of a name are tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ADDRESSES: usize = 4;

/// The pause after the kernel has had no connection to give, as without free descriptors.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long a client that was refused may go on, and how many bytes are read of it, so that it reads the answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_LINGER: u64 = 64 * 1024;

/// Connections that are open, of all listeners together.
#[derive(Debug, Default)]
pub struct RelayLimit {
    open: AtomicUsize,
    reported: AtomicBool,
}

struct Permit(Arc<RelayLimit>);

impl RelayLimit {
    fn acquire(limit: &Arc<Self>) -> Option<Permit> {
        if limit.open.fetch_add(1, Ordering::Relaxed) < MAX_CONNECTIONS {
            return Some(Permit(Arc::clone(limit)));
        }
        limit.open.fetch_sub(1, Ordering::Relaxed);
        if !limit.reported.swap(true, Ordering::Relaxed) {
            eprintln!("lan        {MAX_CONNECTIONS} connections are open: further ones are closed");
        }
        None
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Has `serve` serve each connection, on a thread of its own, for as long as the process lives.
pub fn accept(
    listener: TcpListener,
    limit: &Arc<RelayLimit>,
    serve: impl Fn(&TcpStream) -> io::Result<()> + Send + Sync + 'static,
) {
    let (limit, serve) = (Arc::clone(limit), Arc::new(serve));
    thread::spawn(move || {
        loop {
            let client = match listener.accept() {
                Ok((client, _)) => client,
                // The client has gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => {
                    eprintln!("lan        cannot accept a connection: {error}");
                    thread::sleep(RETRY_DELAY);
                    continue;
                }
            };
            let Some(permit) = RelayLimit::acquire(&limit) else { continue };
            let serve = Arc::clone(&serve);
            // Without a thread the connection is closed, as one above the limit is.
            let _ = thread::Builder::new().spawn(move || {
                let _permit = permit;
                // The client sees that its connection ends; there is nobody else to tell.
                let _ = client.set_nodelay(true).and_then(|()| serve(&client));
            });
        }
    });
}

/// Connects to `host`, a name or an address, at `port`.
///
/// # Errors
/// There is no such name, or none of its addresses answers.
pub fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = (host, port).to_socket_addrs();
    let addresses =
        addresses.map_err(|error| io::Error::new(io::ErrorKind::HostUnreachable, error))?;
    let mut failed = io::ErrorKind::HostUnreachable.into();
    for address in addresses.take(MAX_ADDRESSES) {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(server) => {
                server.set_nodelay(true)?;
                return Ok(server);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Carries what `server` sends to `client` at once, and what `client` sends by `upload`, until both are done.
///
/// # Errors
/// There is no thread to be had.
pub fn relay(
    client: &TcpStream,
    server: &TcpStream,
    upload: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    thread::scope(|scope| {
        let download = thread::Builder::new();
        download.spawn_scoped(scope, || close_both(client, server, copy(server, client)))?;
        close_both(client, server, upload());
        Ok(())
    })
}

/// Copies until `from` has no more, and says so to `to`.
pub fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Write)
}

/// Closes a connection whose client may still be sending: one that is closed with bytes unread is reset, and the last
/// answer is lost.
///
/// # Errors
/// The client has gone, or goes on.
pub fn close(client: &TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Write)?;
    client.set_read_timeout(Some(LINGER_TIMEOUT))?;
    io::copy(&mut client.take(MAX_LINGER), &mut io::sink())?;
    Ok(())
}

/// After a failure in one direction nobody waits for the other.
fn close_both(client: &TcpStream, server: &TcpStream, copied: io::Result<()>) {
    if copied.is_err() {
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn connections_are_limited_and_those_that_end_make_room() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Arc::default();
        accept(listener, &limit, |mut client| {
            client.write_all(b"x")?;
            client.read_exact(&mut [0])
        });
        let connect = || {
            let mut client = TcpStream::connect(address).unwrap();
            // One above the limit is closed.
            let served = client.read(&mut [0]).is_ok_and(|count| count == 1);
            served.then_some(client)
        };
        let mut all: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connect().unwrap()).collect();
        assert!(connect().is_none());
        all.pop();
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while connect().is_none() {
            assert!(std::time::Instant::now() < deadline, "there is no room again");
        }
    }

    #[test]
    fn what_one_side_has_ended_the_other_still_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut text = String::new();
            let (mut client, _) = listener.accept().unwrap();
            client.read_to_string(&mut text).unwrap();
            write!(client, "{text} and back").unwrap();
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        accept(listener, &Arc::default(), move |client| {
            let server = dial("127.0.0.1", there.port())?;
            relay(client, &server, || copy(client, &server))
        });
        client.write_all(b"there").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "there and back");
    }
}
