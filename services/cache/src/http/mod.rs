//! The gateway: objects over HTTP, for all clients that may reach the port.

mod body;
mod conditions;
mod connection;
mod cross_site;
mod listener;
mod media;
mod names;
mod path;
mod put;
mod range;
mod response;
mod timer;

pub(crate) use body::{BodyParts, read_at};
pub(crate) use conditions::{ConditionResult, evaluate, if_range_matches};
pub(crate) use connection::FileQueue;
pub use listener::serve;
pub use media::UNKNOWN;
pub use range::{ByteRange, MAX, RequestedRange, parse_range};
pub use response::{HttpResponse, ResponseBody};
pub(crate) use response::{set_header, text_response};

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ALLOW,
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HOST, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
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
use crate::origin::{CachedOrigin, OriginFront};
use crate::tokens::Tokens;
use names::NameRequest;
use path::{GatewayPath, decode};
use response::remove_body;

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
        let requested = self.objects.policy().request(&hash);
        if requested.was_removed {
            return Err(Missing::Removed);
        }
        match self.objects.find_requested(hash, requested, counters).await? {
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
        match Box::pin(self.fetcher.begin(hash, client.0)).await? {
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

/// A request for an object.
struct ObjectRequest<'a> {
    method: &'a Method,
    /// As the client has sent it.
    hash: &'a str,
    /// The content type.
    kind: &'static str,
    headers: HeaderMap,
}

impl Gateway {
    /// Answers a request of `client`.
    pub async fn serve(&self, client: &HttpClient, request: Request<Incoming>) -> HttpResponse {
        let (head, body) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        let mut response = match self.origin(&head) {
            // An origin's answers have the policies of the origin.
            Some((front, origin)) => {
                drop(body);
                Box::pin(front.serve(origin, Some(client.clone()), head)).await
            }
            None => {
                let mut response = self.serve_own(client, head, body).await;
                restrict(&mut response);
                response
            }
        };
        self.counters.count_response(response.status().as_u16());
        if is_head {
            remove_body(&mut response);
        }
        response
    }

    /// The origin whose host is the only `Host` of the request.
    fn origin(&self, head: &Parts) -> Option<(&Arc<OriginFront>, Arc<CachedOrigin>)> {
        let state = self.state.as_ref()?;
        let mut hosts = head.headers.get_all(HOST).iter();
        let host = hosts.next().filter(|_| hosts.next().is_none())?.to_str().ok()?;
        // A host in the request line counts (RFC 9112, 3.2.2), and has to be the same.
        let target = head.uri.authority().map(Authority::as_str);
        let is_same = target.is_none_or(|it| it.eq_ignore_ascii_case(host));
        let origin = state.origins.find(host).filter(|_| is_same)?;
        Some((&state.origins, origin))
    }

    /// Answers with an object, or takes one. What takes long is boxed: hyper moves this future for each request.
    async fn serve_own(&self, client: &HttpClient, head: Parts, body: Incoming) -> HttpResponse {
        if let Some(refused) = refuse_host(&head) {
            return refused;
        }
        let Parts { method, uri, headers, .. } = head;
        let is_read = matches!(method, Method::GET | Method::HEAD);
        match GatewayPath::parse(uri.path()) {
            GatewayPath::Unknown => {
                let why = "objects are at /b/ and their hash, names at /n/, a key and a path";
                text_response(StatusCode::NOT_FOUND, why)
            }
            GatewayPath::Upload if method == Method::PUT => {
                Box::pin(self.put_object(&headers, body)).await
            }
            GatewayPath::Upload => refuse_method("PUT"),
            _ if !is_read => refuse_method("GET,HEAD"),
            GatewayPath::Object { hash } => {
                drop(body);
                let Some(hash) = decode(hash) else { return not_text("hash") };
                let asked = ObjectRequest { method: &method, hash: &hash, kind: UNKNOWN, headers };
                self.serve_object(client, asked).await
            }
            GatewayPath::NamedObject { hash, name } => {
                drop(body);
                let kind = media::kind(name);
                let asked = ObjectRequest { method: &method, hash, kind, headers };
                self.serve_object(client, asked).await
            }
            GatewayPath::Name { key, path } => {
                drop(body);
                let Some(key) = decode(key) else { return not_text("key") };
                let Some(path) = decode(path) else { return not_text("path") };
                let asked = NameRequest { method: &method, key: &key, path: &path, headers };
                Box::pin(self.serve_name(client, asked)).await
            }
        }
    }
}

/// What a browser may do with a response.
fn restrict(response: &mut HttpResponse) {
    // Browsers replace stored fields with those of a 304 (RFC 9111, section 3.2), which lacks
    // the object's type: the stored policy must stay.
    if response.status() == StatusCode::NOT_MODIFIED {
        return;
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_played = kind.is_some_and(|it| it.starts_with("video/") || it.starts_with("audio/"));
    let policy = if is_played { PLAYER } else { SANDBOX };
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
}

fn refuse_method(allowed: &'static str) -> HttpResponse {
    let why = "objects are read by GET or HEAD, and put at /b by PUT";
    let mut refused = text_response(StatusCode::METHOD_NOT_ALLOWED, why);
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    refused
}

fn not_text(part: &str) -> HttpResponse {
    text_response(StatusCode::BAD_REQUEST, &format!("Invalid URL: Invalid UTF-8 in `{part}`"))
}

/// Refuses a request without exactly one `Host` (RFC 9112, section 3.2), or with a foreign one,
/// against DNS rebinding.
fn refuse_host(head: &Parts) -> Option<HttpResponse> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() || (host.is_none() && head.version == Version::HTTP_11) {
        return Some(text_response(StatusCode::BAD_REQUEST, "a request has the field `Host` once"));
    }
    // The host may be in the request line, too.
    let target = head.uri.authority().map(Authority::as_str);
    let host = host.map(|it| it.to_str().unwrap_or_default());
    let is_own = host.into_iter().chain(target).all(is_own_host);
    (!is_own).then(|| text_response(StatusCode::MISDIRECTED_REQUEST, MISDIRECTED))
}

impl Gateway {
    async fn serve_object(&self, client: &HttpClient, asked: ObjectRequest<'_>) -> HttpResponse {
        self.counters.http_requests.add(1);
        let Some(hash) = parse(asked.hash) else {
            return text_response(
                StatusCode::BAD_REQUEST,
                "a hash is 64 digits, of 0 to 9 and a to f",
            );
        };
        let mut response = self.serve_hash(client, hash, asked).await;
        let policy = self.state.as_ref().map(|state| state.objects.policy());
        if policy.is_some_and(|policy| policy.is_public(&hash)) {
            let fields = response.headers_mut();
            fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        response
    }

    async fn serve_hash(
        &self,
        client: &HttpClient,
        hash: Hash,
        asked: ObjectRequest<'_>,
    ) -> HttpResponse {
        let [if_match, if_none_match] =
            [IF_MATCH, IF_NONE_MATCH].map(|name| header_list(&asked.headers, &name));
        // The entity tag follows from the hash, without a look at the object.
        match evaluate(if_match.as_deref(), if_none_match.as_deref(), asked.hash) {
            ConditionResult::Proceed => {}
            ConditionResult::NotModified => {
                let body = ResponseBody::without_length();
                return response(StatusCode::NOT_MODIFIED, asked.hash, HeaderMap::new(), body);
            }
            ConditionResult::Failed => {
                return text_response(
                    StatusCode::PRECONDITION_FAILED,
                    "the hash stands for something else",
                );
            }
        }
        let Some(state) = &self.state else { return no_disk() };
        let found = match cross_site::is_cross_site(&asked.headers) {
            true => state.look(hash, &self.counters).await,
            false => state.begin(hash, client.address, &self.counters).await,
        };
        match found {
            Ok(object) => self.respond(client, object, asked),
            Err(missing) => error_response(&missing),
        }
    }

    fn respond(
        &self,
        client: &HttpClient,
        object: Object,
        asked: ObjectRequest<'_>,
    ) -> HttpResponse {
        let ObjectRequest { method, hash, kind, headers } = asked;
        let size = object.size;
        let range = header_list(&headers, &RANGE).filter(|_| {
            // Ranges apply to GET only (RFC 9110, 14.2), and only if `If-Range` matches.
            let if_range = header_list(&headers, &IF_RANGE);
            method == Method::GET && if_range.is_none_or(|field| if_range_matches(&field, hash))
        });
        let (code, parts) = match range.map_or(RequestedRange::Whole, |it| parse_range(&it, size)) {
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
            Err(error) => {
                return text_response(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
            }
        };
        let (length, several, one) = (parts.length(), parts.kind.clone(), parts.single());
        let body = match *method == Method::HEAD {
            true => ResponseBody::empty(),
            false => {
                parts.body(object.content, Some(client.files.clone()), Arc::clone(&self.counters))
            }
        };
        // hyper itself states the length of bytes.
        let is_stated = matches!(&body, ResponseBody::Bytes(bytes) if !bytes.is_empty());
        let mut response = response(code, hash, headers, body);
        match several {
            Some(several) => set_header(&mut response, CONTENT_TYPE, &several),
            None => {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
        }
        if !is_stated {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if let Some(span) = one.filter(|_| code == StatusCode::PARTIAL_CONTENT) {
            let range = format!("bytes {}-{}/{size}", span.start, span.end - 1);
            set_header(&mut response, CONTENT_RANGE, &range);
        }
        response
    }
}

/// A response about the object itself. Its fields replace those of the request, in whose memory they are put: hyper uses
/// that for the next request again.
fn response(
    code: StatusCode,
    own: &str,
    mut headers: HeaderMap,
    body: ResponseBody,
) -> HttpResponse {
    headers.clear();
    headers.insert(ETAG, entity_tag(own));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let mut response = Response::new(body);
    *response.status_mut() = code;
    *response.headers_mut() = headers;
    response
}

/// The hash in quotation marks (RFC 9110, section 8.8.3).
fn entity_tag(own: &str) -> HeaderValue {
    let mut tag = [b'"'; 66];
    tag[1..65].copy_from_slice(own.as_bytes());
    // Digits are valid in a field.
    HeaderValue::from_bytes(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

fn no_disk() -> HttpResponse {
    let why = "this node has no disk to keep objects on: ask another one";
    text_response(StatusCode::SERVICE_UNAVAILABLE, why)
}

fn error_response(missing: &Missing) -> HttpResponse {
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

/// A field that may be repeated, as one list (RFC 9110, section 5.3).
pub(crate) fn header_list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut texts = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let first = texts.next()?;
    let Some(second) = texts.next() else { return Some(Cow::Borrowed(first)) };
    let all: Vec<&str> = [first, second].into_iter().chain(texts).collect();
    Some(Cow::Owned(all.join(", ")))
}

/// Parses a hash in its canonical form.
pub fn parse(text: &str) -> Option<Hash> {
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_one = text.len() == 64 && text.bytes().all(digits);
    is_one.then(|| text.parse().ok())?
}
