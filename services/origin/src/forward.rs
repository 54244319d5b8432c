//! One request: what goes up, what comes back, and its limits.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, HOST,
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PRAGMA, PROXY_AUTHENTICATE, RANGE, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::connect::connect;
use crate::failure::{FetchError, UNVERIFIED_END};
use crate::settings::{FetchOrigin, FetchOrigins};

/// The request's headers of HTTP itself that go up. `Cookie` has only what the cache has left of it.
const OF_HTTP: [HeaderName; 9] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    PRAGMA,
    RANGE,
];

/// Headers of one connection (RFC 9110, 7.6.1), and those that only this unit says to the cache.
const NOT_DOWN: [HeaderName; 10] = [
    CONNECTION,
    TRANSFER_ENCODING,
    TE,
    TRAILER,
    UPGRADE,
    PROXY_AUTHENTICATE,
    UNVERIFIED_END,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-status"),
];

/// Fetches what `request` asks of the origin `name`.
pub(crate) async fn forward(
    origins: &FetchOrigins,
    name: &str,
    request: &Request<Incoming>,
    is_time_set: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Response<LimitedBody>, FetchError> {
    let origin = origins.by_name.get(name).ok_or_else(|| FetchError::Unknown(name.to_owned()))?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(FetchError::Method);
    }
    let upward = upward(origin, request);
    let exchange = async {
        let stream = connect(origins, origin, is_time_set).await?.stream();
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(origin.max_head)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(FetchError::Http)?;
        // It ends with the body, which the caller holds.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        poll_fn(|context| sender.poll_ready(context)).await.map_err(FetchError::Http)?;
        let answered = sender.send_request(upward).await;
        answered.map_err(|error| match error.is_parse_too_large() {
            true => FetchError::Head(origin.max_head),
            false if error.is_incomplete_message() => FetchError::Cut(error),
            false => FetchError::Http(error),
        })
    };
    let late = |_| FetchError::Late(origin.timeout);
    let response = timeout(origin.timeout, exchange).await.map_err(late)??;
    downward(origin, request.method(), response)
}

fn upward(origin: &FetchOrigin, request: &Request<Incoming>) -> Request<String> {
    let mut up = Request::new(String::new());
    *up.method_mut() = request.method().clone();
    *up.uri_mut() = request.uri().clone();
    let fields = up.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&origin.upstream.authority()) {
        fields.insert(HOST, host);
    }
    for (name, value) in request.headers() {
        let is_listed = origin.headers.iter().any(|it| it == name.as_str());
        let is_cookie = name == COOKIE && origin.has_cookies;
        if is_listed || is_cookie || OF_HTTP.contains(name) {
            fields.append(name, value.clone());
        }
    }
    // Without the field an origin may send any coding (RFC 9110, 12.5.3), which not every client reads.
    if !fields.contains_key(ACCEPT_ENCODING) {
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    up
}

fn downward(
    origin: &FetchOrigin,
    method: &Method,
    response: Response<Incoming>,
) -> Result<Response<LimitedBody>, FetchError> {
    let (mut head, body) = response.into_parts();
    let has_none = *method == Method::HEAD
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let length = body.size_hint().exact();
    if !has_none && length.is_some_and(|length| length > origin.max_bytes) {
        return Err(FetchError::Body(origin.max_bytes));
    }
    let is_framed = length.is_some() || is_chunked(&head.headers);
    strip(&mut head.headers);
    if !has_none && !is_framed {
        head.headers.insert(UNVERIFIED_END, HeaderValue::from_static("?1"));
    }
    let body = LimitedBody {
        body,
        left: origin.max_bytes,
        most: origin.max_bytes,
        silence: origin.timeout,
        waiting: Box::pin(sleep(origin.timeout)),
    };
    Ok(Response::from_parts(head, body))
}

fn is_chunked(fields: &HeaderMap) -> bool {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    codings.any(|it| it.to_str().is_ok_and(|it| it.to_ascii_lowercase().contains("chunked")))
}

/// Removes what is about the connection.
fn strip(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // The length is checked by it, whatever an origin says.
        .filter(|name| *name != CONTENT_LENGTH)
        .collect();
    named.iter().chain(&NOT_DOWN).for_each(|name| drop(fields.remove(name)));
}

/// A body with limits of size and of silence.
pub(crate) struct LimitedBody {
    body: Incoming,
    left: u64,
    most: u64,
    silence: Duration,
    waiting: Pin<Box<Sleep>>,
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = FetchError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, FetchError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            ready!(this.waiting.as_mut().poll(context));
            return Poll::Ready(Some(Err(FetchError::Late(this.silence))));
        };
        this.waiting.as_mut().reset(Instant::now() + this.silence);
        Poll::Ready(match frame {
            None => None,
            Some(Err(error)) => Some(Err(FetchError::Cut(error))),
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                match this.left.checked_sub(length) {
                    None => Some(Err(FetchError::Body(this.most))),
                    Some(left) => {
                        this.left = left;
                        Some(Ok(frame))
                    }
                }
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
