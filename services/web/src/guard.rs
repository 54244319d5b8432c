//! What each request must have before a page is made, and the header fields that each response has.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::pages::{self, MAX_FORM, Page};
use crate::session::Token;

/// The cookie of a session. Cookies do not separate ports: the random host name keeps it from other servers of this
/// machine.
pub const SESSION_COOKIE: &str = "octet";

/// Paths that need no session: they show nothing of the box.
const OPEN_PATHS: [&str; 4] = ["/enter", pages::STYLE_PATH, pages::SCRIPT_PATH, pages::ICON_PATH];

/// The one path whose body may be long.
pub const INSTALL_PATH: &str = "/update/install";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Nothing but what comes from this server as a file of its own, and no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The session of a request.
#[derive(Clone)]
pub struct RequestSession {
    pub cookie: String,
    /// The token that each of its forms has.
    pub form: Token,
}

/// Refuses what is not a request of the owner's browser, and adds the header fields to the response.
pub async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let mut response = match check(&app, &mut request) {
        Ok(()) => next.run(request).await,
        Err(page) => page.into_response(),
    };
    add_fields(response.headers_mut());
    response
}

fn check(app: &App, request: &mut Request) -> Result<(), Page> {
    if !is_own_host(request.headers(), request.uri(), &app.host) {
        let message = format!("This server is http://{} and no other.", app.host);
        return Err(Page::refused(StatusCode::MISDIRECTED_REQUEST, "Another host", &message));
    }
    let is_install = request.uri().path() == INSTALL_PATH;
    if !is_install && stated_length(request.headers()) > MAX_FORM as u64 {
        return Err(Page::too_large());
    }
    if !OPEN_PATHS.contains(&request.uri().path()) {
        let session = cookie(request.headers()).and_then(|cookie| app.session(cookie));
        request.extensions_mut().insert(session.ok_or_else(Page::no_session)?);
    }
    if request.method() == Method::POST && !is_own_form(request.headers(), &app.host) {
        let message = "The request comes from a page of another server. Nothing was done.";
        return Err(Page::refused(StatusCode::FORBIDDEN, "Another page", message));
    }
    Ok(())
}

fn stated_length(headers: &HeaderMap) -> u64 {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

/// Whether the request names this server and nothing else. A page whose name its owner has pointed to 127.0.0.1 (DNS
/// rebinding) sends its own name.
fn is_own_host(headers: &HeaderMap, uri: &Uri, host: &str) -> bool {
    let mut named = headers.get_all(HOST).iter();
    let is_own =
        |name: Option<&HeaderValue>| name.is_some_and(|name| name.as_bytes() == host.as_bytes());
    is_own(named.next())
        && named.next().is_none()
        && uri.authority().is_none_or(|authority| authority.as_str() == host)
}

/// Whether a form was sent by a page of this server. Pages without a referrer send `Origin: null` with forms (Fetch, section
/// 3.2): then the browser's own `Sec-Fetch-Site` decides.
fn is_own_form(headers: &HeaderMap, host: &str) -> bool {
    let all = |name: HeaderName| {
        headers.get_all(name).iter().map(HeaderValue::as_bytes).collect::<Vec<_>>()
    };
    let (origins, sites) = (all(ORIGIN), all(SEC_FETCH_SITE));
    let own = format!("http://{host}");
    let is_same_site = match sites[..] {
        [] => None,
        [site] => Some(site == b"same-origin"),
        _ => Some(false),
    };
    match (&origins[..], is_same_site) {
        (_, Some(false)) => false,
        ([] | [b"null"], same_site) => same_site.is_some(),
        ([origin], _) => *origin == own.as_bytes(),
        _ => false,
    }
}

/// The session's cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut pairs =
        pairs.flat_map(|pairs| pairs.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == SESSION_COOKIE).map(|(_, value)| value)
}

fn add_fields(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "abc.localhost:8080";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_its_own_name() {
        let is = |fields: &[_], uri: &'static str| {
            is_own_host(&headers(fields), &Uri::from_static(uri), OWN)
        };
        assert!(is(&[("host", OWN)], "/"));
        assert!(is(&[("host", OWN)], "http://abc.localhost:8080/"));
        for other in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1:8080",
            "localhost:8080",
            "abc.localhost",
            "ABC.localhost:8080",
        ] {
            assert!(!is(&[("host", other)], "/"), "{other}");
        }
        assert!(!is(&[], "/") && !is(&[("host", OWN), ("host", "evil.example")], "/"));
        assert!(!is(&[("host", OWN)], "http://evil.example/"));
    }

    #[test]
    fn only_its_own_forms() {
        for (fields, expected) in [
            (&[("origin", "http://abc.localhost:8080")][..], true),
            (&[("origin", "http://abc.localhost:8080"), ("sec-fetch-site", "same-origin")], true),
            (&[("origin", "null"), ("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("origin", "null")], false),
            (&[], false),
            (&[("origin", "http://abc.localhost:8080"), ("sec-fetch-site", "cross-site")], false),
            (&[("origin", "http://abc.localhost:8080"), ("sec-fetch-site", "same-site")], false),
            (&[("origin", "http://evil.example"), ("sec-fetch-site", "same-origin")], false),
            (&[("origin", "http://abc.localhost:8081")], false),
            (&[("origin", "https://abc.localhost:8080")], false),
            (&[("origin", "http://abc.localhost:8080"), ("origin", "http://evil.example")], false),
            (&[("sec-fetch-site", "none")], false),
        ] {
            assert_eq!(is_own_form(&headers(fields), OWN), expected, "{fields:?}");
        }
    }

    #[test]
    fn its_cookie_is_found_among_others() {
        assert_eq!(cookie(&headers(&[("cookie", "a=1; octet=x; b=2")])), Some("x"));
        assert_eq!(cookie(&headers(&[("cookie", "a=1"), ("cookie", "octet=x")])), Some("x"));
        assert_eq!(cookie(&headers(&[("cookie", "octets=x")])), None);
    }
}
