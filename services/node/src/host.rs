//! Checks the `Host` of HTTP requests, against DNS rebinding: a page of `evil.example`, whose owner suddenly
//! resolves that name to an address of the box, could read a service's answers, because the browser takes the
//! box for the page's own server. The `Host` field of its requests shows the attack. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a request is refused, for display.
pub const MISDIRECTED: &str = "this is none of the box's names: use its address, or a name that ends in `.internal` or `.octet`";

/// The domains that only the box's own name servers resolve; they cannot be registered.
const DOMAINS: [&str; 2] = ["internal", "octet"];

/// Whether `host` is an address, one of the box's names, or a name without a dot, with or without a port. Names
/// without a dot (`board-2`) are completed by the client's resolver and cannot be registered.
pub fn is_own_host(host: &str) -> bool {
    // Colons of an IPv6 address are within brackets.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if let Some(inside) = name.strip_prefix('[') {
        return inside.strip_suffix(']').is_some_and(|it| it.parse::<Ipv6Addr>().is_ok());
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    // A trailing dot marks a fully qualified name.
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_below = |(start, end): (&str, &str)| {
        !start.is_empty() && DOMAINS.iter().any(|domain| end.eq_ignore_ascii_case(domain))
    };
    match name.rsplit_once('.') {
        Some(name) => is_below(name),
        None => {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !name.is_empty() && name.bytes().all(is_letter)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_of_the_box_and_no_others() {
        for name in [
            "10.20.1.2",
            "192.0.2.7",
            "[fd00::1]",
            "[FD00::1]",
            "localhost",
            "LocalHost",
            "localhost.",
            "board-1.octet.internal",
            "board-1.octet.internal.",
            "Router.Box.INTERNAL",
            "cache.octet",
            "board-2",
        ] {
            for host in [name.to_owned(), format!("{name}:8080"), format!("{name}:")] {
                assert!(is_own_host(&host), "{host}");
            }
        }
        for name in [
            "",
            ".",
            "evil.example",
            ".internal",
            "board-1.octet.internal.evil.example",
            "board-1.internal.example",
            "evil.exampleinternal",
            "localhost.evil.example",
            "10.20.1.2.evil.example",
            "10.20.1",
            "fd00::1",
            "[10.20.1.2]",
            "[fd00::1",
            "[evil.example]",
            "evil.example:80.internal:x",
            "board-1.octet.internal..",
            "user@board-1.example",
        ] {
            assert!(!is_own_host(name), "{name}");
            assert!(!is_own_host(&format!("{name}:8080")), "{name}");
        }
    }
}
