//! Keeps web pages from a forwarded port. A page of the name `evil.example`, which its owner has lead to 127.0.0.1 all of
//! a sudden (DNS rebinding), could read what is behind: to the browser it is the page's own server. Its requests tell by
//! their `Host`. Browsers send no request whose first line does not end in `HTTP/1.1`, so all else passes.
//!
//! Nothing waits for time: the server's bytes are not held back, and of the client's only those between the end of a
//! request's first line and the end of its head, without which no server answers. Pure.

use httparse::{EMPTY_HEADER, Header, Status};

/// The longest head of a request behind its first line, in bytes, and how many fields it may have.
pub const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 128;

/// What the first line of a request ends in, and of how many bytes that is told.
const PROTOCOL: &[u8] = b"HTTP/1";

/// Names of this host that a browser may know the port by.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What becomes of what the client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestDecision {
    /// This goes on; what comes next is to be looked at, too.
    Forward(Vec<u8>),
    /// This goes on, and so does all that comes.
    Pass(Vec<u8>),
    /// It is a request by a name that is not allowed, or whose name cannot be told.
    Refuse,
}

/// Looks at what one client sends first.
#[derive(Debug)]
pub struct HostGuard<'a> {
    /// The server's own name or address.
    host: &'a str,
    state: State,
}

#[derive(Debug)]
enum State {
    /// In the first line: how its last word begins, and whether white space has come behind it.
    FirstLine { word: Vec<u8>, ended: bool },
    /// Behind the first line of a request: all bytes since its line feed, which are held back.
    Fields(Vec<u8>),
}

impl State {
    const START: Self = Self::FirstLine { word: Vec::new(), ended: false };
}

impl<'a> HostGuard<'a> {
    /// For a client of the server `host`.
    pub fn new(host: &'a str) -> Self {
        Self { host, state: State::START }
    }

    pub fn push(&mut self, bytes: &[u8]) -> RequestDecision {
        let (word, ended) = match &mut self.state {
            State::Fields(held) => {
                held.extend_from_slice(bytes);
                return self.decide(&[]);
            }
            State::FirstLine { word, ended } => (word, ended),
        };
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                // Empty lines before a request are skipped by servers.
                b'\n' if word.is_empty() => *ended = false,
                b'\n' if word.eq_ignore_ascii_case(PROTOCOL) => {
                    let (line, behind) = bytes.split_at(at);
                    self.state = State::Fields(behind.to_vec());
                    return self.decide(line);
                }
                b'\n' => return RequestDecision::Pass(bytes.to_vec()),
                b' ' | b'\t' | b'\r' => *ended = true,
                _ => {
                    if *ended {
                        word.clear();
                        *ended = false;
                    }
                    if word.len() < PROTOCOL.len() {
                        word.push(*byte);
                    }
                }
            }
        }
        RequestDecision::Forward(bytes.to_vec())
    }

    /// Decides about the fields that are held; `line` was not sent on yet.
    fn decide(&self, line: &[u8]) -> RequestDecision {
        let State::Fields(held) = &self.state else { return RequestDecision::Refuse };
        let mut fields = [EMPTY_HEADER; MAX_FIELDS];
        // Behind the line feed.
        match httparse::parse_headers(&held[1..], &mut fields) {
            Ok(Status::Complete((end, fields))) if end < MAX_HEAD && self.allows(fields) => {
                RequestDecision::Pass([line, held].concat())
            }
            Ok(Status::Partial) if held.len() <= MAX_HEAD => {
                RequestDecision::Forward(line.to_vec())
            }
            // A head that is not understood is not one that is sent on: a server may understand it.
            _ => RequestDecision::Refuse,
        }
    }

    fn allows(&self, fields: &[Header<'_>]) -> bool {
        let is_host = |field: &&Header<'_>| field.name.eq_ignore_ascii_case("host");
        let mut hosts = fields.iter().filter(is_host).map(|field| field.value);
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => std::str::from_utf8(host).is_ok_and(|host| self.is_ours(host)),
            _ => false,
        }
    }

    /// Whether a `Host` is this host or the server, at any port.
    fn is_ours(&self, host: &str) -> bool {
        // The colons of an address of IPv6 are in brackets.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        LOCAL.iter().any(|local| name.eq_ignore_ascii_case(local))
            || bare.eq_ignore_ascii_case(self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "board-1.octet.internal";

    fn get(host: &str) -> String {
        format!("GET /b/x HTTP/1.1\r\nAccept: */*\r\nHost: {host}\r\n\r\n")
    }

    /// What passes of `sent`, which comes in pieces of `size` bytes, and whether it is refused.
    fn forwarded(sent: &[u8], size: usize) -> (Vec<u8>, bool) {
        let mut guard = HostGuard::new(HOST);
        let mut passed = Vec::new();
        let mut pieces = sent.chunks(size);
        for piece in pieces.by_ref() {
            match guard.push(piece) {
                RequestDecision::Forward(bytes) => passed.extend(bytes),
                RequestDecision::Refuse => return (passed, true),
                RequestDecision::Pass(bytes) => {
                    passed.extend(bytes);
                    passed.extend(pieces.flatten());
                    return (passed, false);
                }
            }
        }
        (passed, false)
    }

    #[test]
    fn a_request_tells_by_its_host() {
        for size in [1, 7, 1000] {
            for host in [
                "localhost",
                "LocalHost:8080",
                "127.0.0.1:1",
                "[::1]:8080",
                "[::1]",
                HOST,
                "board-1.octet.internal:80",
            ] {
                let sent = format!("\r\n{}body", get(host));
                assert_eq!(forwarded(sent.as_bytes(), size), (sent.clone().into_bytes(), false));
            }
            for host in ["evil.example", "evil.example:8080", "localhost.evil.example", "", "::1"] {
                let sent = get(host);
                let (passed, refused) = forwarded(sent.as_bytes(), size);
                assert!(refused, "{host}");
                // No more than the first line, without its end.
                assert!(b"GET /b/x HTTP/1.1\r".starts_with(&passed), "{host}: {passed:?}");
            }
        }
    }

    #[test]
    fn an_address_of_ipv6_is_a_host_in_brackets() {
        let mut guard = HostGuard::new("fd00::1");
        assert!(matches!(guard.push(get("[FD00::1]:80").as_bytes()), RequestDecision::Pass(_)));
        let mut guard = HostGuard::new("fd00::1");
        assert_eq!(guard.push(get("[fd00::2]:80").as_bytes()), RequestDecision::Refuse);
    }

    #[test]
    fn a_request_whose_host_cannot_be_told_is_refused() {
        let many = "X-Y: z\r\n".repeat(MAX_FIELDS + 1);
        let long = format!("X: {}\r\n", "y".repeat(MAX_HEAD));
        for (before, after) in [
            ("", "Host: evil.example\r\n"),
            (&*many, ""),
            (&*long, ""),
            (" folded\r\n", ""),
            ("no field\r\n", ""),
        ] {
            let with =
                |host: &str| format!("POST / HTTP/1.1\r\n{before}{host}{after}\r\n").into_bytes();
            assert!(forwarded(&with("Host: localhost\r\n"), 100).1, "{before:.20}{after}");
        }
        let none = b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n";
        assert!(forwarded(none, 100).1);
        // However its first line is written.
        let path = format!("/?`{{|}}\"<>{}", "x".repeat(2 * MAX_HEAD));
        for line in [format!("GET {path} HTTP/1.1  "), "FOO / http/1.0".to_owned()] {
            let with = |host: &str| format!("{line}\r\nHost: {host}\r\n\r\n").into_bytes();
            assert!(!forwarded(&with("localhost"), 100).1, "{line:.20}");
            assert!(forwarded(&with("evil.example"), 100).1, "{line:.20}");
        }
    }

    #[test]
    fn what_is_no_request_passes_as_it_comes() {
        let mut guard = HostGuard::new(HOST);
        // Whoever waits for an answer to this gets one.
        assert_eq!(guard.push(b"PING"), RequestDecision::Forward(b"PING".to_vec()));
        assert_eq!(guard.push(b" x\r"), RequestDecision::Forward(b" x\r".to_vec()));
        assert_eq!(guard.push(b"\nHost"), RequestDecision::Pass(b"\nHost".to_vec()));
        for line in ["SSH-2.0-x\r\n", "PRI * HTTP/2.0\r\n", "HTTP/1.1 200 OK\r\n", "x\n"] {
            let mut guard = HostGuard::new(HOST);
            assert_eq!(guard.push(line.as_bytes()), RequestDecision::Pass(line.into()), "{line}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_sent_on_in_order_and_no_more_is_held(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            head in prop::sample::select(vec!["", "GET / HTTP/1.1\r\n", "\r\nGET / HTTP/1.1\r\nHost: localhost\r\n"]),
            size in 1_usize..50,
        ) {
            let sent = [head.as_bytes(), &bytes].concat();
            let (passed, refused) = forwarded(&sent, size);
            prop_assert!(sent.starts_with(&passed));
            // What is no request passes whole.
            if head.is_empty() && !bytes.to_ascii_lowercase().windows(6).any(|part| part == b"http/1") {
                prop_assert!(!refused && passed == sent);
            }
            // In what way it comes is no matter.
            prop_assert_eq!(forwarded(&sent, 1).1, refused);
        }
    }
}
