//! The gateway: objects over HTTP, for all clients that may reach the port.

mod body;
mod conditions;
mod connection;
mod cross_site;
mod dispatch;
mod folders;
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

use hyper::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH,
    IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Response, StatusCode};
use iroh_blobs::Hash;
use octet_node::say;
use tokio::sync::Semaphore;

use crate::counters::CacheCounters;
use crate::fetch::{Fetcher, Missing};
use crate::folders::FolderCache;
use crate::keep::ObjectKeeper;
use crate::names::NameCache;
use crate::neighbours::Neighbours;
use crate::objects::{Object, ObjectContent, ObjectError, Objects};
use crate::origin::OriginFront;
use crate::scrub::Scrubber;
use crate::tokens::Tokens;

/// An object never changes: caches may keep it for a year, the maximum that is understood
/// everywhere.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// `Retry-After` in seconds, if too many objects are being fetched.
const RETRY_SECONDS: &str = "5";

/// The response fields that scripts of other pages may read with a public object, besides the
/// safelisted ones (Fetch, WHATWG: CORS-safelisted response headers).
const EXPOSED: HeaderValue = HeaderValue::from_static("Accept-Ranges, Content-Range, ETag");

/// The room for fields of a request that a connection keeps for the next one, in fields.
const MAX_KEPT_FIELDS: usize = 48;

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
    /// The folders that were read last.
    pub folders: Arc<FolderCache>,
    /// The web origins whose front this node is.
    pub origins: Arc<OriginFront>,
    /// Nodes of other boxes.
    pub neighbours: Arc<Neighbours>,
    /// What `[[keep]]` says.
    pub keeper: Arc<ObjectKeeper>,
    /// Verifies what is on the disk.
    pub scrubber: Arc<Scrubber>,
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
        if !self.has_restored(hash).await
            && let Err(missing) = self.fetcher.fetch(hash).await
        {
            self.keeper.restore(hash, missing).await?;
        }
        self.objects.find(hash, counters).await?.ok_or(Missing::Nowhere)
    }

    /// Makes an object of `[[keep]]` of its shards, if that is known to be the only way.
    async fn has_restored(&self, hash: Hash) -> bool {
        let is_in_shards = self.keeper.is_in_shards(&hash);
        is_in_shards && self.keeper.restore(hash, Missing::Nowhere).await.is_ok()
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
        if self.keeper.is_in_shards(&hash) {
            let _permit = self.fetcher.permit(client.0)?;
            self.has_restored(hash).await;
        }
        match self.fetcher.begin(hash, client.0).await {
            Ok(Some((size, coming))) => {
                return Ok(Object { size, content: ObjectContent::Fetching(coming) });
            }
            Ok(None) => {}
            Err(missing) => {
                let is_known = self.keeper.has_manifest(&hash);
                let _permit = is_known.then(|| self.fetcher.permit(client.0)).transpose()?;
                self.keeper.restore(hash, missing).await?;
            }
        }
        self.objects.find(hash, counters).await?.ok_or(Missing::Nowhere)
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
    async fn serve_object(&self, client: &HttpClient, asked: ObjectRequest<'_>) -> HttpResponse {
        self.counters.http_requests.add(1);
        let Some(hash) = parse(asked.hash) else {
            return text_response(
                StatusCode::BAD_REQUEST,
                "a hash is 64 digits, of 0 to 9 and a to f",
            );
        };
        let mut response = self.serve_hash(client, hash, asked).await;
        self.share(&hash, &mut response);
        response
    }

    /// Lets scripts of other pages read the response, if the object is public.
    fn share(&self, hash: &Hash, response: &mut HttpResponse) {
        let policy = self.state.as_ref().map(|state| state.objects.policy());
        if policy.is_some_and(|policy| policy.is_public(hash)) {
            let fields = response.headers_mut();
            fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
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
    match headers.capacity() {
        0..=MAX_KEPT_FIELDS => headers.clear(),
        _ => headers = HeaderMap::new(),
    }
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
        Missing::Silent(_) | Missing::Limited(_) | Missing::OnItsWay | Missing::Damaged => {
            StatusCode::GATEWAY_TIMEOUT
        }
        Missing::Busy | Missing::BusyForOne => StatusCode::SERVICE_UNAVAILABLE,
        Missing::Removed => StatusCode::GONE,
        Missing::Store(ObjectError::Removed) => StatusCode::FORBIDDEN,
        Missing::Store(
            ObjectError::Full { .. } | ObjectError::Quota { .. } | ObjectError::Public { .. },
        ) => StatusCode::INSUFFICIENT_STORAGE,
        Missing::Store(ObjectError::TooLarge { .. } | ObjectError::Absent(_)) => {
            StatusCode::NOT_FOUND
        }
        Missing::Store(error @ (ObjectError::Broken(_) | ObjectError::Mismatch(_))) => {
            say!("an object cannot be served: {error}");
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
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Hash::from_bytes(bytes))
}
