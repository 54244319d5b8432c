//! Requests that a web page of somebody else has the browser of a device here make. Pure.
//!
//! The page is to learn nothing of what the box has but what an operator has made public, so nobody is asked for its sake.
//! Over plain HTTP browsers say of a picture or a film not whose page shows it, but of a script's request they do.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

/// Where a request comes from, in the words of the browser (Fetch Metadata Request Headers, W3C).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a page of another host, or of another port, has it made.
pub fn is_foreign(headers: &HeaderMap) -> bool {
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
            is_foreign(&headers)
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
        // One that is ours does not make up for another.
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost".parse().unwrap());
        headers.append(ORIGIN, "http://localhost".parse().unwrap());
        assert!(!is_foreign(&headers));
        headers.append(ORIGIN, "http://evil.example".parse().unwrap());
        assert!(is_foreign(&headers));
    }
}
