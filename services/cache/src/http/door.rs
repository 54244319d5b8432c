//! Connections over HTTP: so many at a time, and few of one address; who is silent or does not read is let go.

use octet_node::say;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::{Gateway, router};
use crate::limits::Limits;

/// The pause after the kernel could not give a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest head of a request, in bytes; hyper takes no less than this.
const HEAD: usize = 16 << 10;

/// How often each address is connected.
type Connected = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Serves whoever connects to `listener`, for good.
pub async fn serve(listener: TcpListener, gateway: Gateway, limits: Limits) {
    let connected = Connected::default();
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
        let Some(place) = Place::take(&connected, from.ip(), limits) else {
            counters.http_refused.add(1);
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _place = place;
            converse(stream, router, limits).await;
        });
    }
}

async fn converse(stream: TcpStream, router: Router, limits: Limits) {
    let _ = stream.set_nodelay(true);
    // What is sent and not taken for so long ends the connection (tcp(7)).
    let unread = u32::try_from(limits.unread.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(&stream, unread);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Whoever breaks the connection knows why.
    let _ = served.await;
}

/// One of those who are connected.
struct Place {
    of: Connected,
    from: IpAddr,
}

impl Place {
    fn take(of: &Connected, from: IpAddr, limits: Limits) -> Option<Self> {
        let from = from.to_canonical();
        let mut addresses = of.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = addresses.values().sum();
        let own = addresses.get(&from).copied().unwrap_or_default();
        if all >= limits.http || own >= limits.http_of_one {
            return None;
        }
        addresses.insert(from, own + 1);
        Some(Self { of: Arc::clone(of), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.from);
            }
        }
    }
}
