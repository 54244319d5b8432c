//! Responses and their bodies.

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::mem::take;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::empty;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

pub type HttpResponse = Response<ResponseBody>;

/// The body of a response.
pub enum ResponseBody {
    Bytes(Bytes),
    /// Its length is not known here.
    Stream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>),
    /// What another server sends.
    Incoming(Incoming),
}

impl ResponseBody {
    pub fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }

    pub fn from_stream(parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self::Stream(Box::pin(parts))
    }

    /// An empty body of unknown length: `Content-Length` of a 304 would be the object's (RFC 9110,
    /// section 8.6).
    pub fn without_length() -> Self {
        Self::from_stream(empty())
    }
}

impl Debug for ResponseBody {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ResponseBody").field(&self.size_hint()).finish()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(take(bytes))))),
            Self::Stream(parts) => {
                let part = parts.as_mut().poll_next(context);
                part.map(|it| it.map(|part| part.map(Frame::data)))
            }
            Self::Incoming(body) => {
                let frame = Pin::new(body).poll_frame(context);
                frame.map(|it| it.map(|frame| frame.map_err(io::Error::other)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Stream(_) => false,
            Self::Incoming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
            Self::Incoming(body) => body.size_hint(),
        }
    }
}

/// A plain-text line for humans. It is not cached, because the state may change.
pub(crate) fn text_response(code: StatusCode, why: &str) -> HttpResponse {
    let mut response = Response::new(ResponseBody::Bytes(format!("{why}\n").into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn set_header(response: &mut HttpResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Makes it an answer to HEAD: the body's length is stated if it is known, and the body is left out.
pub(super) fn remove_body(response: &mut HttpResponse) {
    if let Some(length) = response.body().size_hint().exact()
        && !response.headers().contains_key(CONTENT_LENGTH)
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = ResponseBody::empty();
}
