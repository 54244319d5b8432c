//! Detects cross-site requests: those that a foreign web page makes through a local browser. Pure.
//!
//! A foreign page may learn of public objects only, so no other node is asked for its requests.
//! Over plain HTTP, browsers mark requests of scripts, but not those for images and videos.

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName, ORIGIN};

/// The browser's classification of a request's origin (Fetch Metadata Request Headers, W3C).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a page of another host or port has made the request.
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    if headers.get_all(SEC_FETCH_SITE).iter().any(|site| site == "cross-site") {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    headers.get_all(ORIGIN).iter().any(|origin| {
        let own = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        own.is_none_or(|(_, own)| !own.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_what_the_browser_says() {
        let is = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "10.20.1.2:8080".parse().unwrap());
            headers.append(name, value.parse().unwrap());
            is_cross_site(&headers)
        };
        for (name, value, is_so) in [
            ("accept", "*/*", false),
            ("origin", "http://10.20.1.2:8080", false),
            ("origin", "http://10.20.1.2", true),
            ("origin", "https://evil.example", true),
            ("origin", "http://10.20.1.2:8080.evil.example", true),
            ("origin", "null", true),
            ("origin", "", true),
            ("sec-fetch-site", "cross-site", true),
            ("sec-fetch-site", "same-origin", false),
            ("sec-fetch-site", "none", false),
        ] {
            assert_eq!(is(name, value), is_so, "{name}: {value}");
        }
        // A local origin does not outweigh a foreign one.
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost".parse().unwrap());
        headers.append(ORIGIN, "http://localhost".parse().unwrap());
        assert!(!is_cross_site(&headers));
        headers.append(ORIGIN, "http://evil.example".parse().unwrap());
        assert!(is_cross_site(&headers));
    }
}
