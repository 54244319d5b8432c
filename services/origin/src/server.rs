//! The server for the cache: HTTP/1.1 on a socket of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use octet_node::peer_uid;
use octet_node::say;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use crate::failure::FetchError;
use crate::forward::forward;
use crate::settings::FetchOrigins;

/// The maximum number of requests at the same time.
const MAX_REQUESTS: usize = 128;

const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after the kernel could not accept a connection.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// What the server needs besides its socket.
#[derive(Clone)]
pub struct FetchServer {
    pub origins: watch::Receiver<Arc<FetchOrigins>>,
    /// The only user that may connect.
    pub client: u32,
    /// Whether the clock was set, so that certificates can be checked.
    pub is_time_set: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Serves forever.
pub async fn serve(listener: UnixListener, server: FetchServer) {
    let places = Arc::new(Semaphore::new(MAX_REQUESTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                say!("cannot accept a connection: {error}");
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            }
        };
        match peer_uid(&stream) {
            Ok(uid) if uid == server.client => {}
            Ok(uid) => {
                say!("user {uid} may not fetch: only the unit cache may");
                continue;
            }
            Err(_) => continue,
        }
        let server = server.clone();
        tokio::spawn(async move {
            let _place = place;
            serve_connection(stream, server).await;
        });
    }
}

async fn serve_connection(stream: UnixStream, server: FetchServer) {
    let service = service_fn(move |request| {
        let server = server.clone();
        async move { Ok::<_, Infallible>(server.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // What was cut is logged where it was cut.
    let _ = served.await;
}

impl FetchServer {
    async fn answer(&self, request: Request<Incoming>) -> Response<BoxBody<Bytes, FetchError>> {
        let name = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let name = name.unwrap_or_default().to_owned();
        let origins = Arc::clone(&self.origins.borrow());
        match forward(&origins, &name, &request, &*self.is_time_set).await {
            Ok(response) => response.map(|body| {
                let logged = body.map_err(move |error| {
                    say!("`{name}` is cut off: {error} ({})", error.help());
                    error
                });
                logged.boxed()
            }),
            Err(error) => {
                say!("`{name}`: {error} ({})", error.help());
                refusal(&error)
            }
        }
    }
}

/// An answer that is not the upstream's: only these have `Proxy-Status`.
fn refusal(error: &FetchError) -> Response<BoxBody<Bytes, FetchError>> {
    let why = Full::new(Bytes::from(format!("{error} ({})\n", error.help())));
    let mut response = Response::new(why.map_err(|never: Infallible| match never {}).boxed());
    *response.status_mut() = error.status();
    let status = format!("origin; error={}", error.kind());
    if let Ok(value) = HeaderValue::from_str(&status) {
        response.headers_mut().insert(HeaderName::from_static("proxy-status"), value);
    }
    response
}
