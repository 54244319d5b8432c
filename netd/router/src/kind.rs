//! A kind of flow, as people write it.

use std::fmt;
use std::str::FromStr;

use octet_appliance::{MPLS_IN_IP, TrafficKind};
use serde::{Deserialize, Serialize};

/// A kind of flow with its destination port: `tcp/4040`, `icmp`, `mpls-in-ip`, or `proto/47`, an IP
/// protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FlowKind {
    pub traffic: TrafficKind,
    /// The port; 0 for protocols without ports.
    pub port: u16,
}

/// Text that is not a kind of flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of flow")]
pub struct InvalidKind(String);

impl InvalidKind {
    /// Suggests what to write instead. A bare number is a port to most people, and a protocol to
    /// some.
    pub fn help(&self) -> String {
        match self.0.parse::<u16>() {
            Ok(number) => {
                let protocol = match u8::try_from(number) {
                    Ok(number) => format!(", or proto/{number} for a protocol of IP"),
                    Err(_) => String::new(),
                };
                format!("write tcp/{number} or udp/{number} for a port{protocol}")
            }
            Err(_) => "write tcp/PORT, udp/PORT, icmp, mpls-in-ip or proto/NUMBER".into(),
        }
    }
}

impl FlowKind {
    pub const fn tcp(port: u16) -> Self {
        Self { traffic: TrafficKind::Tcp, port }
    }

    pub const fn udp(port: u16) -> Self {
        Self { traffic: TrafficKind::Udp, port }
    }

    pub const PING: Self = Self { traffic: TrafficKind::Ping, port: 0 };
}

impl FromStr for FlowKind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        let without_port = |traffic| Some(Self { traffic, port: 0 });
        let kind = match text.split_once('/') {
            Some(("tcp", port)) => port.parse().ok().map(Self::tcp),
            Some(("udp", port)) => port.parse().ok().map(Self::udp),
            Some(("proto", number)) => {
                number.parse().ok().map(TrafficKind::Number).and_then(without_port)
            }
            Some(_) => None,
            None if text == "icmp" => Some(Self::PING),
            None if text == "mpls-in-ip" => without_port(TrafficKind::Number(MPLS_IN_IP)),
            None => None,
        };
        kind.ok_or_else(|| InvalidKind(text.to_owned()))
    }
}

impl fmt::Display for FlowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.traffic {
            TrafficKind::Tcp | TrafficKind::Udp => write!(f, "{}/{}", self.traffic, self.port),
            TrafficKind::Ping => write!(f, "{}", self.traffic),
            TrafficKind::Number(MPLS_IN_IP) => f.write_str("mpls-in-ip"),
            TrafficKind::Number(number) => write!(f, "proto/{number}"),
        }
    }
}

impl TryFrom<String> for FlowKind {
    type Error = InvalidKind;

    fn try_from(text: String) -> Result<Self, InvalidKind> {
        text.parse()
    }
}

impl From<FlowKind> for String {
    fn from(kind: FlowKind) -> Self {
        kind.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_none_is_refused() {
        for text in
            ["", "tcp", "tcp/", "tcp/65536", "icmp/1", "sctp/5", "80", "256", "proto/256", "-1"]
        {
            assert_eq!(text.parse::<FlowKind>(), Err(InvalidKind(text.to_owned())));
        }
        let help = |text: &str| text.parse::<FlowKind>().unwrap_err().help();
        let of_a_number = "write tcp/80 or udp/80 for a port, or proto/80 for a protocol of IP";
        assert_eq!(help("80"), of_a_number);
        assert_eq!(help("4040"), "write tcp/4040 or udp/4040 for a port");
        assert!(help("sctp/5").contains("proto/NUMBER"));
        let mpls = FlowKind { traffic: TrafficKind::Number(MPLS_IN_IP), port: 0 };
        assert_eq!(("mpls-in-ip".parse(), "proto/137".parse()), (Ok(mpls), Ok(mpls)));
    }

    proptest! {
        #[test]
        fn it_comes_back(port: u16, number: u8, text: String) {
            let number = FlowKind { traffic: TrafficKind::Number(number), port: 0 };
            for kind in [FlowKind::tcp(port), FlowKind::udp(port), FlowKind::PING, number] {
                prop_assert_eq!(kind.to_string().parse(), Ok(kind));
            }
            let _ = text.parse::<FlowKind>();
        }
    }
}
