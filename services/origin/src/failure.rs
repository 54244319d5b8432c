//! Why nothing came from an upstream, in the words of RFC 9209.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderName;

/// The field of an answer whose end cannot be checked, because it has no length: the cache does not store it.
pub const UNVERIFIED_END: HeaderName = HeaderName::from_static("octet-unverified-end");

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("there is no origin `{0}`")]
    Unknown(String),
    #[error("only GET and HEAD are forwarded")]
    Method,
    #[error("the name `{0}` does not resolve: {1}")]
    Name(String, std::io::Error),
    #[error("`{0}` has only addresses that are not reached from here, such as {1}")]
    Prohibited(String, std::net::IpAddr),
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("HTTPS needs the time, and this node's clock was not set since it started")]
    Time,
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("the head of the answer has more than {0} bytes")]
    Head(usize),
    #[error("the body has more than {0} bytes")]
    Body(u64),
    #[error("the answer is cut off: {0}")]
    Cut(hyper::Error),
    #[error("not HTTP: {0}")]
    Http(hyper::Error),
}

impl FetchError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "see `[[origin]]` of this board in `config show`",
            Self::Method => "send the request to the origin itself",
            Self::Name(..) => "check `upstream`, and that this node has a name server",
            Self::Prohibited(..) => "name its network in `allow` if it is meant",
            Self::Connect(_) => "check that a policy lets this board out, and that the origin runs",
            Self::Time => "give the box a time server, or set the clock: `clock set`",
            Self::Tls(_) => "check the origin's certificate, and `ca`",
            Self::Late(_) => "see `max_seconds`",
            Self::Head(_) => "see `max_header_bytes`",
            Self::Body(_) => "see `max_bytes`",
            Self::Cut(_) | Self::Http(_) => "ask the origin's operator",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Unknown(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// The error type of RFC 9209, section 2.3.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "destination_not_found",
            Self::Method => "http_request_denied",
            Self::Name(..) => "dns_error",
            Self::Prohibited(..) => "destination_ip_prohibited",
            Self::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "connection_refused"
            }
            Self::Connect(_) => "destination_unavailable",
            Self::Time | Self::Tls(_) => "tls_certificate_error",
            Self::Late(_) => "http_response_timeout",
            Self::Head(_) => "http_response_header_section_size",
            Self::Body(_) => "http_response_body_size",
            Self::Cut(_) => "http_response_incomplete",
            Self::Http(_) => "http_protocol_error",
        }
    }
}
