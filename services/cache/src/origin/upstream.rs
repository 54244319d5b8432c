//! A request to the unit `origin`, which fetches, or to the board that has it.

use std::io;
use std::path::Path;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName};
use hyper::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::answer::CACHE_STATUS;
use super::boards::OriginBoards;
use super::front::{CachedOrigin, OriginFetcher, OriginFront};

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

impl OriginFront {
    /// Asks for `target` of `origin`: the first of its fetchers that answers.
    pub(super) async fn fetch(
        &self,
        origin: &CachedOrigin,
        method: &Method,
        target: &str,
        fields: &HeaderMap,
    ) -> Result<UpstreamAnswer, UpstreamFailure> {
        let ask = UpstreamRequest { name: &origin.name, method, target, fields };
        let mut failure = UpstreamFailure::ended();
        for fetcher in &origin.fetchers {
            let board = match fetcher {
                OriginFetcher::Unit => {
                    let response = ask.of_unit(&self.socket).await?;
                    return Ok(UpstreamAnswer { response, from: None });
                }
                OriginFetcher::Board(board) => *board,
            };
            // Of a board that leaves the map meanwhile nothing is believed.
            let from = Some(self.boards.node(board).unwrap_or_default());
            match ask.of_board(&self.boards, board).await {
                Ok(response) => return Ok(UpstreamAnswer { response, from }),
                // A request that only reads may be made again (RFC 9110, section 9.2.2).
                Err(error) => {
                    failure.why = format!("board {board}, which fetches, gives no answer: {error}");
                }
            }
        }
        Err(failure)
    }
}

/// A response, and the node that it is from, if this one has not fetched it.
pub struct UpstreamAnswer {
    pub response: Response<Incoming>,
    pub from: Option<[u8; 32]>,
}

/// The fields that are of one connection.
fn remove_of_connection(fields: &mut HeaderMap) {
    for name in ["connection", "transfer-encoding", "keep-alive"] {
        fields.remove(name);
    }
}

pub(super) struct UpstreamRequest<'a> {
    /// Of the origin.
    pub name: &'a str,
    pub method: &'a Method,
    pub target: &'a str,
    pub fields: &'a HeaderMap,
}

impl UpstreamRequest<'_> {
    async fn of_unit(&self, socket: &Path) -> Result<Response<Incoming>, UpstreamFailure> {
        let answered = match UnixStream::connect(socket).await {
            Ok(stream) => self.exchange(stream).await,
            Err(error) => Err(error),
        };
        let mut response = answered.map_err(|error| UpstreamFailure {
            status: StatusCode::BAD_GATEWAY,
            why: format!("the unit `origin` does not fetch: {error}"),
        })?;
        let Some(status) = response.headers_mut().remove(PROXY_STATUS) else {
            remove_of_connection(response.headers_mut());
            return Ok(response);
        };
        let why = format!("the origin gives no answer: {}", status.to_str().unwrap_or("?"));
        Err(UpstreamFailure { status: response.status(), why })
    }

    pub(super) async fn of_board(
        &self,
        boards: &OriginBoards,
        board: u8,
    ) -> io::Result<Response<Incoming>> {
        let mut response = self.exchange(boards.open(board).await?).await?;
        remove_of_connection(response.headers_mut());
        // The other board's own line is the last one. What is stored here gets one of this board.
        let mut lines: Vec<_> = response.headers().get_all(CACHE_STATUS).iter().cloned().collect();
        lines.pop();
        response.headers_mut().remove(CACHE_STATUS);
        for line in lines {
            response.headers_mut().append(CACHE_STATUS, line);
        }
        Ok(response)
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<Response<Incoming>> {
        let handshake =
            http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(io::Error::other)?;
        tokio::spawn(async move {
            // The body has the error.
            let _ = connection.await;
        });
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.parse().map_err(io::Error::other)?;
        *request.headers_mut() = self.fields.clone();
        let host = HeaderValue::from_str(self.name).map_err(io::Error::other)?;
        request.headers_mut().insert(HOST, host);
        sender.send_request(request).await.map_err(io::Error::other)
    }
}
/// The largest `max_header_bytes`, and what `origin` adds.
const MAX_HEAD: usize = (256 << 10) + (4 << 10);
