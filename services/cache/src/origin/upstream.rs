//! A request to the unit `origin`, which fetches.

use std::io;
use std::path::Path;

use axum::http::header::{HOST, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// The field of an answer whose end cannot be checked.
pub const UNVERIFIED_END: HeaderName = HeaderName::from_static("octet-unverified-end");

/// Only answers of `origin` itself have it.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why there is no answer of the upstream.
#[derive(Debug, Clone)]
pub struct UpstreamFailure {
    pub status: StatusCode,
    pub why: String,
}

impl UpstreamFailure {
    /// The request has ended without a response.
    pub fn ended() -> Self {
        let why = "the request to the origin has ended without an answer".to_owned();
        Self { status: StatusCode::BAD_GATEWAY, why }
    }
}

/// Asks for `target` of the origin `name`.
pub async fn fetch(
    socket: &Path,
    name: &str,
    method: &Method,
    target: &str,
    fields: &HeaderMap,
) -> Result<Response<Incoming>, UpstreamFailure> {
    let answered = exchange(socket, name, method, target, fields).await;
    let mut response = answered.map_err(|error| UpstreamFailure {
        status: StatusCode::BAD_GATEWAY,
        why: format!("the unit `origin` does not fetch: {error}"),
    })?;
    let Some(status) = response.headers_mut().remove(PROXY_STATUS) else {
        // They are of the connection with `origin`.
        for name in ["connection", "transfer-encoding", "keep-alive"] {
            response.headers_mut().remove(name);
        }
        return Ok(response);
    };
    let why = format!("the origin gives no answer: {}", status.to_str().unwrap_or("?"));
    Err(UpstreamFailure { status: response.status(), why })
}

async fn exchange(
    socket: &Path,
    name: &str,
    method: &Method,
    target: &str,
    fields: &HeaderMap,
) -> io::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await?;
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // The body has the error.
        let _ = connection.await;
    });
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method.clone();
    *request.uri_mut() = target.parse().map_err(io::Error::other)?;
    *request.headers_mut() = fields.clone();
    request.headers_mut().insert(HOST, HeaderValue::from_str(name).map_err(io::Error::other)?);
    sender.send_request(request).await.map_err(io::Error::other)
}

/// The largest `max_header_bytes`, and what `origin` adds.
const MAX_HEAD: usize = (256 << 10) + (4 << 10);
