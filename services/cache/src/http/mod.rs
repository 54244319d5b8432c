//! The gateway: objects over HTTP, for all clients that may reach the port.

mod body;
mod conditions;
mod connection;
mod cross_site;
mod listener;
mod media;
mod names;
mod put;
mod range;

pub(crate) use body::{BodyParts, read_at};
pub(crate) use conditions::{ConditionResult, evaluate, if_range_matches};
pub(crate) use connection::FileQueue;
pub use listener::serve;
pub use media::UNKNOWN;
pub use range::{ByteRange, MAX, RequestedRange, parse_range};

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HOST, HeaderName,
    IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use iroh_blobs::Hash;
use octet_node::host::{MISDIRECTED, is_own_host};
use octet_node::say;
use tokio::sync::Semaphore;

use crate::counters::CacheCounters;
use crate::fetch::{Fetcher, Missing};
use crate::keep::Keeper;
use crate::names::NameCache;
use crate::neighbours::Neighbours;
use crate::objects::{Object, ObjectContent, ObjectError, Objects};
use crate::origin::OriginFront;
use crate::tokens::Tokens;

/// An object never changes: caches may keep it for a year, the maximum that is understood
/// everywhere.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// `Retry-After` in seconds, if too many objects are being fetched.
const RETRY_SECONDS: &str = "5";

/// The content security policy of a response, because objects come from untrusted authors. The page
/// that a browser makes around an image has its own styles.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; img-src 'self'; style-src 'unsafe-inline'",
);

/// The same for audio and video: Chromium does not load them in a sandbox. No script runs there
/// either.
const PLAYER: HeaderValue =
    HeaderValue::from_static("default-src 'none'; media-src 'self'; style-src 'unsafe-inline'");

/// The response fields that scripts of other pages may read with a public object, besides the
/// safelisted ones (Fetch, WHATWG: CORS-safelisted response headers).
const EXPOSED: HeaderValue = HeaderValue::from_static("Accept-Ranges, Content-Range, ETag");

/// The state of the gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// The objects of this node; `None` without a disk.
    pub state: Option<CacheState>,
    pub counters: Arc<CacheCounters>,
}

/// The objects of this node, and how missing ones are fetched.
#[derive(Debug, Clone)]
pub struct CacheState {
    pub objects: Arc<Objects>,
    pub fetcher: Arc<Fetcher>,
    pub names: Arc<NameCache>,
    /// The tokens for uploads.
    pub tokens: Arc<Tokens>,
    /// Permits for concurrent uploads.
    pub puts: Arc<Semaphore>,
    /// The web origins whose front this node is.
    pub origins: Arc<OriginFront>,
    /// Nodes of other boxes.
    pub neighbours: Arc<Neighbours>,
    /// What `[[keep]]` says.
    pub keeper: Arc<Keeper>,
}

impl CacheState {
    /// The object, from this node or another one.
    ///
    /// # Errors
    /// The object is unavailable.
    pub async fn find(&self, hash: Hash, counters: &CacheCounters) -> Result<Object, Missing> {
        if let Some(object) = self.objects.find(hash, counters).await? {
            counters.hits.add(1);
            return Ok(object);
        }
        counters.misses.add(1);
        self.fetcher.fetch(hash).await?;
        self.objects.find(hash, counters).await?.ok_or(Missing::Nowhere)
    }

    /// The object, if it is on this node and was not removed by an operator. No other node is
    /// asked.
    pub async fn look(&self, hash: Hash, counters: &CacheCounters) -> Result<Object, Missing> {
        if self.objects.policy().was_removed(&hash) {
            return Err(Missing::Removed);
        }
        match self.objects.find(hash, counters).await? {
            Some(object) => {
                counters.hits.add(1);
                Ok(object)
            }
            None => {
                counters.misses.add(1);
                Err(Missing::Nowhere)
            }
        }
    }

    /// Like [`find`](Self::find), but a large object is read while it arrives, and an object that
    /// an operator has removed is not fetched again. The fetch counts for `client`.
    ///
    /// # Errors
    /// The object is unavailable.
    pub async fn begin(
        &self,
        hash: Hash,
        client: ClientAddress,
        counters: &CacheCounters,
    ) -> Result<Object, Missing> {
        match self.look(hash, counters).await {
            Err(Missing::Nowhere) => {}
            found => return found,
        }
        match self.fetcher.begin(hash, client.0).await? {
            Some((size, coming)) => Ok(Object { size, content: ObjectContent::Fetching(coming) }),
            None => self.objects.find(hash, counters).await?.ok_or(Missing::Nowhere),
        }
    }
}

/// The address of the client.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// The client of a connection.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pub address: ClientAddress,
    /// What the connection sends from files.
    pub files: FileQueue,
}

/// Its paths. Each request has its [`HttpClient`] as an extension.
pub fn router(gateway: Gateway) -> Router {
    let counters = Arc::clone(&gateway.counters);
    let answered = move |mut response: Response| {
        counters.count_response(response.status().as_u16());
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_played = kind.is_some_and(|it| it.starts_with("video/") || it.starts_with("audio/"));
        let policy = if is_played { PLAYER } else { SANDBOX };
        // Browsers replace stored fields with those of a 304 (RFC 9111, section 3.2), which lacks
        // the object's type: the stored policy must stay.
        if response.status() != StatusCode::NOT_MODIFIED {
            response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        }
        std::future::ready(response)
    };
    Router::new()
        .route("/b/{hash}", get(without_name))
        .route("/b/{hash}/{*name}", get(with_name))
        .route("/b", axum::routing::put(put::put_object))
        .route("/n/{key}/{*path}", get(names::serve_name))
        .fallback(async || {
            text_response(
                StatusCode::NOT_FOUND,
                "objects are at /b/ and their hash, names at /n/, a key and a path",
            )
        })
        .method_not_allowed_fallback(async || {
            text_response(
                StatusCode::METHOD_NOT_ALLOWED,
                "objects are read by GET or HEAD, and put at /b by PUT",
            )
        })
        .layer(from_fn(to_this_host))
        .layer(map_response(answered))
        // An origin's answers have the policies of the origin.
        .layer(from_fn_with_state(gateway.clone(), to_origin))
        .with_state(gateway)
}

async fn without_name(
    State(gateway): State<Gateway>,
    Extension(client): Extension<HttpClient>,
    method: Method,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Response {
    serve_object(&gateway, &client, &method, &hash, UNKNOWN, &headers).await
}

/// Only the extension of the name counts; it need not be UTF-8.
async fn with_name(
    State(gateway): State<Gateway>,
    Extension(client): Extension<HttpClient>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let path = uri.path().strip_prefix("/b/").unwrap_or_default();
    let (hash, name) = path.split_once('/').unwrap_or_default();
    serve_object(&gateway, &client, &method, hash, media::kind(name), &headers).await
}

/// Serves a request whose only `Host` is that of an origin.
async fn to_origin(
    State(gateway): State<Gateway>,
    Extension(client): Extension<HttpClient>,
    request: Request,
    next: Next,
) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none()).and_then(|it| it.to_str().ok());
    // A host in the request line counts (RFC 9112, 3.2.2), and has to be the same.
    let target = request.uri().authority().map(Authority::as_str);
    let is_same = target.is_none_or(|it| host.is_some_and(|host| host.eq_ignore_ascii_case(it)));
    let Some((state, host)) = gateway.state.as_ref().zip(host.filter(|_| is_same)) else {
        return next.run(request).await;
    };
    match state.origins.find(host) {
        Some(origin) => {
            let response = state.origins.serve(origin, Some(client), request).await;
            gateway.counters.count_response(response.status().as_u16());
            response
        }
        None => next.run(request).await,
    }
}

/// Refuses a request without exactly one `Host` (RFC 9112, section 3.2), or with a foreign one,
/// against DNS rebinding.
async fn to_this_host(request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() || (host.is_none() && request.version() == Version::HTTP_11) {
        return text_response(StatusCode::BAD_REQUEST, "a request has the field `Host` once");
    }
    // The host may be in the request line, too.
    let target = request.uri().authority().map(Authority::as_str);
    let host = host.map(|it| it.to_str().unwrap_or_default());
    if !host.into_iter().chain(target).all(is_own_host) {
        return text_response(StatusCode::MISDIRECTED_REQUEST, MISDIRECTED);
    }
    next.run(request).await
}

async fn serve_object(
    gateway: &Gateway,
    client: &HttpClient,
    method: &Method,
    hash: &str,
    kind: &'static str,
    headers: &HeaderMap,
) -> Response {
    gateway.counters.http_requests.add(1);
    let Some(hash) = parse(hash) else {
        return text_response(StatusCode::BAD_REQUEST, "a hash is 64 digits, of 0 to 9 and a to f");
    };
    let mut response = serve_hash(gateway, client, method, hash, kind, headers).await;
    let policy = gateway.state.as_ref().map(|state| state.objects.policy());
    if policy.is_some_and(|policy| policy.is_public(&hash)) {
        let fields = response.headers_mut();
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}

async fn serve_hash(
    gateway: &Gateway,
    client: &HttpClient,
    method: &Method,
    hash: Hash,
    kind: &'static str,
    headers: &HeaderMap,
) -> Response {
    let own = hash.to_hex().to_string();
    let [if_match, if_none_match] =
        [IF_MATCH, IF_NONE_MATCH].map(|name| header_list(headers, &name));
    // The entity tag follows from the hash, without a look at the object.
    match evaluate(if_match.as_deref(), if_none_match.as_deref(), &own) {
        ConditionResult::Proceed => {}
        ConditionResult::NotModified => {
            return response(StatusCode::NOT_MODIFIED, &own, no_length());
        }
        ConditionResult::Failed => {
            return text_response(
                StatusCode::PRECONDITION_FAILED,
                "the hash stands for something else",
            );
        }
    }
    let Some(state) = &gateway.state else {
        let why = "this node has no disk to keep objects on: ask another one";
        return text_response(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let found = match cross_site::is_cross_site(headers) {
        true => state.look(hash, &gateway.counters).await,
        false => state.begin(hash, client.address, &gateway.counters).await,
    };
    match found {
        Ok(object) => respond((gateway, client), method, &own, object, kind, headers),
        Err(missing) => error_response(&missing),
    }
}

fn respond(
    (gateway, client): (&Gateway, &HttpClient),
    method: &Method,
    own: &str,
    object: Object,
    kind: &'static str,
    headers: &HeaderMap,
) -> Response {
    let size = object.size;
    let range = header_list(headers, &RANGE).filter(|_| {
        // Ranges apply to GET only (RFC 9110, 14.2), and only if `If-Range` matches.
        let if_range = header_list(headers, &IF_RANGE);
        method == Method::GET && if_range.is_none_or(|field| if_range_matches(&field, own))
    });
    let (code, parts) = match range.map_or(RequestedRange::Whole, |field| parse_range(&field, size))
    {
        RequestedRange::Whole => {
            (StatusCode::OK, Ok(BodyParts::one(ByteRange { start: 0, end: size })))
        }
        RequestedRange::Parts(spans) => match spans[..] {
            [span] => (StatusCode::PARTIAL_CONTENT, Ok(BodyParts::one(span))),
            _ => (StatusCode::PARTIAL_CONTENT, BodyParts::several(&spans, size, kind)),
        },
        RequestedRange::Nothing => {
            let why = format!("the object has {size} bytes, and none of these");
            let mut response = text_response(StatusCode::RANGE_NOT_SATISFIABLE, &why);
            set_header(&mut response, CONTENT_RANGE, &format!("bytes */{size}"));
            return response;
        }
    };
    let parts = match parts {
        Ok(parts) => parts,
        Err(error) => return text_response(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    let (length, several, one) = (parts.length(), parts.kind.clone(), parts.single());
    let body = match *method == Method::HEAD {
        true => Body::empty(),
        false => {
            parts.body(object.content, Some(client.files.clone()), Arc::clone(&gateway.counters))
        }
    };
    let mut response = response(code, own, body);
    set_header(&mut response, CONTENT_TYPE, several.as_deref().unwrap_or(kind));
    set_header(&mut response, CONTENT_LENGTH, &length.to_string());
    if let Some(span) = one.filter(|_| code == StatusCode::PARTIAL_CONTENT) {
        let range = format!("bytes {}-{}/{size}", span.start, span.end - 1);
        set_header(&mut response, CONTENT_RANGE, &range);
    }
    response
}

/// A response about the object itself.
fn response(code: StatusCode, own: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    set_header(&mut response, ETAG, &format!("\"{own}\""));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An empty body of unknown length: `Content-Length` of a 304 would be the object's (RFC 9110,
/// section 8.6).
fn no_length() -> Body {
    Body::from_stream(futures_util::stream::empty::<Result<Bytes, Infallible>>())
}

fn error_response(missing: &Missing) -> Response {
    let code = match missing {
        Missing::Nowhere => StatusCode::NOT_FOUND,
        Missing::Silent(_) | Missing::Limited(_) | Missing::OnItsWay => StatusCode::GATEWAY_TIMEOUT,
        Missing::Busy | Missing::BusyForOne => StatusCode::SERVICE_UNAVAILABLE,
        Missing::Removed => StatusCode::GONE,
        Missing::Store(ObjectError::Removed) => StatusCode::FORBIDDEN,
        Missing::Store(
            ObjectError::Full { .. } | ObjectError::Quota { .. } | ObjectError::Public { .. },
        ) => StatusCode::INSUFFICIENT_STORAGE,
        Missing::Store(ObjectError::Broken(why)) => {
            say!("an object cannot be served: {why}");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    let mut response = text_response(code, &missing.to_string());
    if code == StatusCode::SERVICE_UNAVAILABLE {
        set_header(&mut response, RETRY_AFTER, RETRY_SECONDS);
    }
    response
}

/// A plain-text line for humans. It is not cached, because the state may change.
pub(crate) fn text_response(code: StatusCode, why: &str) -> Response {
    let mut response = Response::new(Body::from(format!("{why}\n")));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

pub(crate) fn set_header(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A field that may be repeated, as one list (RFC 9110, section 5.3).
pub(crate) fn header_list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter().peekable();
    values.peek()?;
    let texts: Vec<&str> = values.map(|value| value.to_str().unwrap_or("?")).collect();
    Some(texts.join(", "))
}

/// Parses a hash in its canonical form.
pub fn parse(text: &str) -> Option<Hash> {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_one = text.len() == 64 && text.bytes().all(digits);
    is_one.then(|| text.parse().ok())?
}
