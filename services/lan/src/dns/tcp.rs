//! Queries by TCP (RFC 7766): several per connection, each answered as soon as its answer is known.

use octet_node::limits::{Permit, Permits};
use octet_node::say;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::query::{LONGEST, Transport};
use super::query_limit::QueryLimits;
use super::rates::ClientPrefix;
use super::resolver::QueryDecision;
use super::{Dns, RETRY_DELAY};

/// The maximum number of connections.
const ROOM: QueryLimits = QueryLimits { all: 32, per_client: 8, reserved: 8 };

/// The idle timeout, for reads and writes. Queries to upstreams end earlier.
const IDLE: Duration = Duration::from_secs(10);

/// The maximum number of concurrent queries per connection.
const AT_ONCE: usize = 8;

/// Accepts connections, for ever.
pub(super) async fn serve(dns: Rc<Dns>, listener: TcpListener) -> io::Error {
    let places = Permits::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if !dns.resolver.borrow_mut().admit(dns.now(), from) {
                    continue;
                }
                let client = ClientPrefix::from(from);
                if let Some(place) = ROOM.admit(&places, client) {
                    spawn_local(serve_connection(Rc::clone(&dns), stream, from, place));
                } else {
                    dns.resolver.borrow_mut().counters.connections_refused += 1;
                }
            }
            Err(error) => {
                say!("cannot accept a connection: {error}");
                sleep(RETRY_DELAY).await;
            }
        }
    }
}

/// Reads queries until the client ends; any error closes the connection.
async fn serve_connection(
    dns: Rc<Dns>,
    stream: TcpStream,
    from: SocketAddr,
    place: Permit<ClientPrefix>,
) {
    let _ = stream.set_nodelay(true);
    let (mut reader, writer) = stream.into_split();
    let (sender, answers) = mpsc::channel(AT_ONCE);
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let written = spawn_local(write(writer, answers));
    while let Ok(free) = Arc::clone(&room).acquire_owned().await {
        let Ok(Ok(bytes)) = timeout(IDLE, read(&mut reader)).await else { break };
        let decision = {
            let mut resolver = dns.resolver.borrow_mut();
            if !resolver.admit(dns.now(), from) {
                break;
            }
            let Some(way) = resolver.box_networks.upstream_path(from.ip()) else { break };
            resolver.handle(dns.now(), &bytes, Transport::Tcp, way)
        };
        let answer = match decision {
            QueryDecision::Drop => break,
            QueryDecision::Reply(answer) => answer,
            QueryDecision::Forward(query) => match dns.admit(ClientPrefix::from(from), &query) {
                Err(answer) => answer,
                Ok(waits) => {
                    let (dns, sender) = (Rc::clone(&dns), sender.clone());
                    spawn_local(async move {
                        let answer = dns.forward(&query, waits).await;
                        let _ = sender.send(answer).await;
                        drop(free);
                    });
                    continue;
                }
            },
        };
        if sender.send(answer).await.is_err() {
            break;
        }
    }
    // A client that has shut down its side may still wait for answers.
    drop(sender);
    let _ = written.await;
    drop(place);
}

async fn read(reader: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = reader.read_u16().await?.into();
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Vec<u8>>) {
    while let Some(answer) = answers.recv().await {
        let Ok(length) = u16::try_from(answer.len()) else { return };
        let bytes = [&length.to_be_bytes(), &answer[..]].concat();
        if !matches!(timeout(IDLE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
}
