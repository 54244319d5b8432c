//! A box on the command line: `KEY@ADDRESS[:PORT]` or `ADDRESS[:PORT]`.

use std::fmt;

use octet_control::PublicKey;
use octet_node::hello::GATE_PORT;

/// The host name or IP address of a gate, and its port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GateAddress {
    host: String,
    port: u16,
}

/// A box, as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxAddress {
    /// The box's node, if given.
    pub key: Option<PublicKey>,
    pub address: GateAddress,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no box: write did:key:…@ADDRESS or ADDRESS, with :PORT if it is not {GATE_PORT}, and an IPv6 address with a port as [ADDRESS]:PORT"
)]
pub struct InvalidTarget(String);

impl GateAddress {
    /// Host and port, for the system's resolver.
    pub fn parts(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            // An address with several colons is an IPv6 address.
            None => match text.split_once(':') {
                Some((host, port)) if !port.contains(':') => (host, Some(port)),
                _ => (text, None),
            },
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || ".:-_%".contains(c);
        let port = port.map_or(Some(GATE_PORT), |port| {
            let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
            port.parse().ok().filter(|_| digits)
        })?;
        let host = host.to_owned();
        (!host.is_empty() && host.chars().all(plain)).then_some(Self { host, port })
    }
}

impl std::str::FromStr for BoxAddress {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        let invalid = || InvalidTarget(text.to_owned());
        let (key, address) = match text.split_once('@') {
            Some((key, address)) => (Some(key.parse().map_err(|_| invalid())?), address),
            None => (None, text),
        };
        Ok(Self { key, address: GateAddress::parse(address).ok_or_else(invalid)? })
    }
}

impl fmt::Display for GateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl std::str::FromStr for GateAddress {
    type Err = InvalidTarget;

    fn from_str(text: &str) -> Result<Self, InvalidTarget> {
        Self::parse(text).ok_or_else(|| InvalidTarget(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

    #[test]
    fn as_people_write_it() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1:4040"),
            ("192.0.2.1:5000", "192.0.2.1:5000"),
            ("box.lan", "box.lan:4040"),
            ("2001:db8::1", "[2001:db8::1]:4040"),
            ("[2001:db8::1]:5000", "[2001:db8::1]:5000"),
            ("fe80::1%eth0", "[fe80::1%eth0]:4040"),
        ] {
            let target: BoxAddress = text.parse().unwrap();
            assert_eq!((target.key, target.address.to_string().as_str()), (None, address));
            let target: BoxAddress = format!("{KEY}@{text}").parse().unwrap();
            assert_eq!(target.key.unwrap().to_string(), KEY);
            assert_eq!(target.address.to_string(), address);
        }
        for bad in [
            "",
            "@",
            "x@192.0.2.1",
            &format!("{KEY}@"),
            "a:0",
            "a:99999",
            "a:+5",
            "[a",
            "[a]5",
            "a b",
        ] {
            assert!(bad.parse::<BoxAddress>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(text in "\\PC{0,30}") {
            if let Ok(target) = text.parse::<BoxAddress>() {
                prop_assert_eq!(target.address.to_string().parse::<GateAddress>(), Ok(target.address));
            }
        }
    }
}
