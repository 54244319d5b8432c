//! Connections over HTTP: so many at a time, and few of one client; who is silent or does not read is let go.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use octet_node::limits::ClientLimit;
use octet_node::say;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::{Client, Gateway, router};
use crate::limits::Limits;

/// The pause after the kernel could not give a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest head of a request, in bytes; hyper takes no less than this.
const HEAD: usize = 16 << 10;

/// Serves whoever connects to `listener`, for good.
pub async fn serve(listener: TcpListener, gateway: Gateway, limits: Limits) {
    let connected = ClientLimit::new(limits.http, limits.http_of_one);
    let counters = Arc::clone(&gateway.counters);
    let router = router(gateway);
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                say!("no connection could be taken: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(permit) = connected.take(from.ip()) else {
            counters.http_refused.add(1);
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _permit = permit;
            converse(stream, Client(from.ip()), router, limits).await;
        });
    }
}

async fn converse(stream: TcpStream, client: Client, router: Router, limits: Limits) {
    let _ = stream.set_nodelay(true);
    // What is sent and not taken for so long ends the connection (tcp(7)).
    let unread = u32::try_from(limits.unread.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(&stream, unread);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client);
        router.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever breaks the connection knows why.
    let _ = served.await;
}
