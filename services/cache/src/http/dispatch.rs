//! Which code answers a request: by its host, its path and its method.

use std::future::{Ready, ready};
use std::mem::take;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, Request, StatusCode, Version};
use octet_node::host::{MISDIRECTED, is_own_host};

use super::folders::FolderRequest;
use super::media::{self, UNKNOWN};
use super::names::{NameAsked, NamedFolderRequest, NamedRequest};
use super::path::{GatewayPath, decode};
use super::response::remove_body;
use super::{CacheState, Gateway, HttpClient, HttpResponse, ObjectRequest, parse, text_response};
use crate::origin::{CachedOrigin, OriginFront};

/// The content security policy of a response, because objects come from untrusted authors. The page
/// that a browser makes around an image has its own styles.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; img-src 'self'; style-src 'unsafe-inline'",
);

/// The same for audio and video: Chromium does not load them in a sandbox. No script runs there
/// either.
const PLAYER: HeaderValue =
    HeaderValue::from_static("default-src 'none'; media-src 'self'; style-src 'unsafe-inline'");

impl Gateway {
    /// Answers a request of `client`.
    pub fn serve<'a>(
        &'a self,
        client: &'a HttpClient,
        request: Request<Incoming>,
    ) -> Either<Ready<HttpResponse>, BoxFuture<'a, HttpResponse>> {
        let (mut head, body) = request.into_parts();
        match self.serve_at_hand(client, &mut head) {
            Some(response) => Either::Left(ready(response)),
            None => Either::Right(Box::pin(self.serve_later(client, head, body))),
        }
    }

    /// The answer with an object, or with a stored response of an origin, for which nothing has to be waited for. hyper reads the next request into the memory of
    /// this one, and into new memory if this one is still there when its service returns.
    fn serve_at_hand(&self, client: &HttpClient, head: &mut Parts) -> Option<HttpResponse> {
        let state = self.state.as_ref()?;
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        if !is_read {
            return None;
        }
        let mut response = match self.origin(head) {
            Some((front, origin)) => front.serve_at_hand(&origin, client, head)?,
            None => self.object_at_hand(state, client, head)?,
        };
        self.counters.count_response(response.status().as_u16());
        if head.method == Method::HEAD {
            remove_body(&mut response);
        }
        Some(response)
    }

    fn object_at_hand(
        &self,
        state: &CacheState,
        client: &HttpClient,
        head: &mut Parts,
    ) -> Option<HttpResponse> {
        if refuse_host(head).is_some() {
            return None;
        }
        let (text, kind) = match GatewayPath::parse(head.uri.path()) {
            GatewayPath::Object { hash } => (hash, UNKNOWN),
            GatewayPath::NamedObject { hash, name } => (hash, media::kind(name)),
            _ => return None,
        };
        let has_condition =
            [IF_MATCH, IF_NONE_MATCH].iter().any(|it| head.headers.contains_key(it));
        let hash = parse(text).filter(|_| !has_condition)?;
        let object = state.objects.at_hand(hash, &self.counters)?;
        self.counters.http_requests.add(1);
        self.counters.hits.add(1);
        let headers = take(&mut head.headers);
        let asked = ObjectRequest { method: &head.method, hash: text, kind, headers };
        let mut response = self.respond(client, object, asked);
        self.share(&hash, &mut response);
        restrict(&mut response);
        Some(response)
    }

    async fn serve_later(&self, client: &HttpClient, head: Parts, body: Incoming) -> HttpResponse {
        let is_head = head.method == Method::HEAD;
        let mut response = match self.origin(&head) {
            // An origin's answers have the policies of the origin.
            Some((front, origin)) => {
                drop(body);
                front.serve(origin, Some(client.clone()), head).await
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

    /// Answers with an object, or takes one.
    async fn serve_own(&self, client: &HttpClient, head: Parts, body: Incoming) -> HttpResponse {
        if let Some(refused) = refuse_host(&head) {
            return refused;
        }
        let Parts { method, uri, headers, .. } = head;
        let is_read = matches!(method, Method::GET | Method::HEAD);
        match GatewayPath::parse(uri.path()) {
            GatewayPath::Unknown => {
                let why = "objects are at /b/ and their hash, the files of a folder at /d/, its hash or name and their path, names at /n/, a key and a path";
                text_response(StatusCode::NOT_FOUND, why)
            }
            GatewayPath::Upload if method == Method::PUT => self.put_object(&headers, body).await,
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
            GatewayPath::Folder { hash, path } => {
                drop(body);
                let Some(path) = decode(path) else { return not_text("path") };
                let asked = FolderRequest { method: &method, hash, path: &path, headers };
                self.serve_folder(client, asked).await
            }
            GatewayPath::NamedFolder { key, name, path } => {
                drop(body);
                let Some(key) = decode(key) else { return not_text("key") };
                let Some(name) = decode(name) else { return not_text("name") };
                let Some(path) = decode(path) else { return not_text("path") };
                let at = NameAsked { key: &key, path: &name };
                let asked = NamedFolderRequest { method: &method, at, path: &path, headers };
                self.serve_named_folder(client, asked).await
            }
            GatewayPath::Name { key, path } => {
                drop(body);
                let Some(key) = decode(key) else { return not_text("key") };
                let Some(path) = decode(path) else { return not_text("path") };
                let at = NameAsked { key: &key, path: &path };
                let asked = NamedRequest { method: &method, at, headers };
                self.serve_name(client, asked).await
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
