//! A minimal parser of HTTP requests (RFC 9112) for one path and one method. Pure.

use httparse::{EMPTY_HEADER, Header, Request, Status};

use crate::host::is_own_host;

/// The maximum size of a request's head, in bytes.
pub const LONGEST: usize = 4096;

/// The maximum number of header fields.
const FIELDS: usize = 32;

/// The only path.
const PATH: &str = "/metrics";

/// The result of parsing the received bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseProgress {
    More,
    /// A request for the metrics.
    Metrics,
    Refused(HttpError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpError {
    /// 400: malformed or too long.
    Bad,
    /// 421: the `Host` is not this one.
    Misdirected,
    /// 404: another path.
    NotFound,
    /// 405: another method.
    Method,
}

/// Parses the head of a request.
pub fn read(bytes: &[u8]) -> ParseProgress {
    let mut fields = [EMPTY_HEADER; FIELDS];
    let mut request = Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) if bytes.len() < LONGEST => return ParseProgress::More,
        Ok(Status::Partial) | Err(_) => return ParseProgress::Refused(HttpError::Bad),
    }
    // HTTP/1.1 requires exactly one `Host` field (RFC 9112, 3.2).
    let is_host = |field: &&Header<'_>| field.name.eq_ignore_ascii_case("host");
    let mut hosts = request.headers.iter().filter(is_host);
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return ParseProgress::Refused(HttpError::Bad),
        (None, None) if request.version == Some(1) => {
            return ParseProgress::Refused(HttpError::Bad);
        }
        (Some(host), None) if !std::str::from_utf8(host.value).is_ok_and(is_own_host) => {
            return ParseProgress::Refused(HttpError::Misdirected);
        }
        _ => {}
    }
    let (host, target) = split(request.path.unwrap_or_default());
    if host.is_some_and(|host| !is_own_host(host)) {
        return ParseProgress::Refused(HttpError::Misdirected);
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    match request.method {
        _ if path != PATH => ParseProgress::Refused(HttpError::NotFound),
        Some("GET" | "HEAD") => ParseProgress::Metrics,
        _ => ParseProgress::Refused(HttpError::Method),
    }
}

/// Whether the received bytes are a HEAD request, whose answer has no body (RFC 9110, section 9.3.2).
pub fn is_head(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HEAD ")
}

/// The host and path of a request target, which may be an absolute URL (RFC 9112, section 3.2.2).
fn split(target: &str) -> (Option<&str>, &str) {
    const SCHEME: &str = "http://";
    match target.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (Some(host), path)
        }
        _ => (None, target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str =
        "GET /metrics HTTP/1.1\r\nHost: board-1.octet.internal:4044\r\nAccept: text/plain\r\n\r\n";

    #[test]
    fn one_thing_is_answered() {
        let of = |text: &str| read(text.as_bytes());
        assert_eq!(of(GOOD), ParseProgress::Metrics);
        assert_eq!(of("GET /metrics HTTP/1.0\r\n\r\n"), ParseProgress::Metrics);
        assert_eq!(of("GET /metrics?name[]=a HTTP/1.0\r\n\r\n"), ParseProgress::Metrics);
        let refused = |line: &str| match of(&format!("{line}\r\nHost: 10.20.1.2\r\n\r\n")) {
            ParseProgress::Refused(why) => why,
            other => panic!("{line}: {other:?}"),
        };
        for path in ["/", "/metrics/", "/metric", "/Metrics", "//metrics", "/a?/metrics", "*"] {
            assert_eq!(refused(&format!("GET {path} HTTP/1.1")), HttpError::NotFound, "{path}");
        }
        assert_eq!(of("HEAD /metrics HTTP/1.0\r\n\r\n"), ParseProgress::Metrics);
        for (target, asked) in [
            ("http://10.20.1.2:4044/metrics", ParseProgress::Metrics),
            ("HTTP://board-1.octet.internal/metrics?name[]=a", ParseProgress::Metrics),
            ("http://10.20.1.2", ParseProgress::Refused(HttpError::NotFound)),
            ("http://10.20.1.2/", ParseProgress::Refused(HttpError::NotFound)),
            ("http://10.20.1.2?/metrics", ParseProgress::Refused(HttpError::Misdirected)),
            // The host of an absolute URL takes precedence over the field.
            ("http://evil.example/metrics", ParseProgress::Refused(HttpError::Misdirected)),
            (
                "http://10.20.1.2@evil.example/metrics",
                ParseProgress::Refused(HttpError::Misdirected),
            ),
            ("http:///metrics", ParseProgress::Refused(HttpError::Misdirected)),
            ("https://10.20.1.2/metrics", ParseProgress::Refused(HttpError::NotFound)),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: 10.20.1.2\r\n\r\n");
            assert_eq!(of(&text), asked, "{target}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get", "GETS"] {
            let line = format!("{method} /metrics HTTP/1.1");
            assert_eq!(refused(&line), HttpError::Method, "{line}");
        }
        for line in [
            "GET /metrics",
            "GET /metrics HTTP/2.0",
            "GET  /metrics HTTP/1.1",
            "GET /metrics HTTP/1.1\r\nno field",
            "GET /metrics HTTP/1.1\r\nHost: b",
            "\u{1} /metrics HTTP/1.1",
            "PRI * HTTP/2.0",
        ] {
            assert_eq!(refused(line), HttpError::Bad, "{line:?}");
        }
        assert_eq!(
            of("GET /metrics HTTP/1.1\r\n\r\n"),
            ParseProgress::Refused(HttpError::Bad),
            "no host"
        );
        for (version, host) in [("1.1", "evil.example:4044"), ("1.0", "evil.example"), ("1.1", "")]
        {
            let text = format!("GET /metrics HTTP/{version}\r\nHost: {host}\r\n\r\n");
            assert_eq!(of(&text), ParseProgress::Refused(HttpError::Misdirected), "{text}");
        }
        let many = "A: b\r\n".repeat(FIELDS + 1);
        let many = format!("GET /metrics HTTP/1.0\r\n{many}\r\n");
        assert_eq!(of(&many), ParseProgress::Refused(HttpError::Bad));
    }

    /// A head without an end is refused at the maximum size.
    #[test]
    fn what_does_not_end_is_refused() {
        let head = format!("GET /metrics HTTP/1.1\r\nA: {}", "b".repeat(LONGEST));
        for length in 0..=head.len() {
            let read = read(&head.as_bytes()[..length]);
            let expected = if length < LONGEST {
                ParseProgress::More
            } else {
                ParseProgress::Refused(HttpError::Bad)
            };
            assert_eq!(read, expected, "{length}");
        }
    }

    proptest! {
        /// Any bytes are parsed without a panic, and more bytes never turn a refused request into a valid one.
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), more: Vec<u8>) {
            if let ParseProgress::Refused(HttpError::Bad) = read(&bytes) {
                let longer = [&bytes[..], &more].concat();
                prop_assert_eq!(read(&longer), ParseProgress::Refused(HttpError::Bad));
            }
        }

        /// A valid request is accepted once it is complete, however it is split; trailing bytes change nothing.
        #[test]
        fn whole_or_not(cut in 0..GOOD.len(), behind: Vec<u8>) {
            prop_assert_eq!(read(&GOOD.as_bytes()[..cut]), ParseProgress::More);
            prop_assert_eq!(read(&[GOOD.as_bytes(), &behind].concat()), ParseProgress::Metrics);
        }

        /// Other paths and methods are refused.
        #[test]
        fn nothing_else(method in "[A-Z]{1,8}", path in "/[!-~]{0,20}") {
            let asked = read(format!("{method} {path} HTTP/1.0\r\n\r\n").as_bytes());
            let is_path = path.split('?').next() == Some("/metrics");
            let wanted = is_path && ["GET", "HEAD"].contains(&&*method);
            prop_assert_eq!(asked == ParseProgress::Metrics, wanted, "{:?}", asked);
        }
    }
}
