//! HTTP connections: limited in total and per client, with timeouts for silence and for unread
//! data. After an early refusal the rest of the request is read for a while, so that the client can
//! read the response.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use octet_node::limits::ClientLimit;
use octet_node::say;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::connection::{FileConnection, FileQueue};
use super::timer::HeadDeadline;
use super::{ClientAddress, Gateway, HttpClient};
use crate::limits::CacheLimits;

/// The pause after the kernel could not accept a connection.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The maximum size of a request's head, in bytes; hyper accepts no lower limit.
const HEAD: usize = 16 << 10;

/// How long further input is discarded after the response (RFC 9112, section 9.6): without a byte,
/// in total, and the maximum number of bytes. Clients such as curl send the whole object before
/// they read the refusal.
const DISCARD_SILENCE: Duration = Duration::from_secs(2);
const DISCARD_TIME: Duration = Duration::from_secs(10);
const DISCARD_BYTES: usize = 128 << 20;

/// The read size while discarding, in bytes.
const DISCARD_PIECE: usize = 16 << 10;

/// Accepts connections on `listener`, forever.
pub async fn serve(listener: TcpListener, gateway: Gateway, limits: CacheLimits) {
    let connected = ClientLimit::new(limits.http, limits.http_per_client);
    let gateway = Arc::new(gateway);
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                say!("cannot accept a connection: {error}");
                sleep(RETRY_DELAY).await;
                continue;
            }
        };
        let Some(permit) = connected.take(from.ip()) else {
            gateway.counters.http_refused.add(1);
            continue;
        };
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let _permit = permit;
            serve_connection(stream, ClientAddress(from.ip()), &gateway, limits).await;
        });
    }
}

async fn serve_connection(
    mut stream: TcpStream,
    client: ClientAddress,
    gateway: &Gateway,
    limits: CacheLimits,
) {
    let _ = stream.set_nodelay(true);
    // A connection ends if sent data is not acknowledged for this long (tcp(7)).
    let unread = u32::try_from(limits.write_timeout.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(&stream, unread);
    let files = FileQueue::default();
    let client = HttpClient { address: client, files: files.clone() };
    let deadline = HeadDeadline::new();
    let service = service_fn(|request: Request<Incoming>| {
        deadline.clear();
        gateway.serve(&client, request).map(Ok::<_, Infallible>)
    });
    let served = http1::Builder::new()
        .timer(deadline.clone())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEAD)
        // A copied stand-in would be sent itself.
        .writev(true)
        .serve_connection(FileConnection::new(&mut stream, files), service);
    tokio::select! {
        biased;
        // The error concerns the client only.
        _ = served => {}
        () = deadline.passed(limits.header_timeout) => {}
    }
    let _ = timeout(DISCARD_TIME, discard(&mut stream)).await;
}

/// Shuts down sending, and discards further input. Closing a connection with unread input would
/// reset it, and the client could lose the response.
async fn discard(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let (mut piece, mut discarded) = (vec![0; DISCARD_PIECE], 0);
    while discarded < DISCARD_BYTES {
        match timeout(DISCARD_SILENCE, stream.read(&mut piece)).await {
            Ok(Ok(count @ 1..)) => discarded += count,
            _ => break,
        }
    }
    Ok(())
}
