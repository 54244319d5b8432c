//! Messages between the two ends of a path: introductions, pings, MTU probes, and requests for an exit.
//!
//! One message in a datagram of UDP, within the path's own WireGuard. The first byte is the version (1), the
//! second the kind: 3 ping, 4 pong, 5 ping that asks the peer to answer over this path, 6 exit request, 7 exit
//! granted, 8 exit refused, 9 introduction, 10 introduction to an authenticated peer. Of the first three a
//! number (8) follows; of 6 nothing, of 7 an IPv4 address (4), of 8 the reason (1); 11 is an MTU probe and 12
//! its answer: the length of the IPv6 packet (2), and for 11 zeros as padding; of 9 and 10 the node's
//! certificate (after its length in 2 bytes) and the signature by its `forward` key (64). 1 and 2 were
//! introductions without a receiver; they are not accepted any more.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use octet_appliance::is_exit_address;
use octet_node::address::NodeAddress;
use octet_node::certificate::Certificate;
use octet_node::key::{Domain, PrivateKey, SIGNATURE, verify};
use octet_node::map::Map;
use octet_node::sub_key::Certified;

use crate::engine::PathEnd;
use crate::exchange;
use crate::mtu;
use crate::neighbour::UNIT;
use crate::private_source;

/// The UDP port within paths.
pub const PORT: u16 = 4043;

const VERSION: u8 = 1;

/// The headers of IPv6 (40) and UDP (8).
const HEADERS: usize = 48;

pub const LONGEST: usize = mtu::LONGEST_OF_PATH as usize - HEADERS;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inner {
    /// The sender's introduction.
    Introduction {
        /// The node's certificate of its `forward` key.
        certificate: Box<Certificate>,
        /// The signature by that key over this path.
        signature: [u8; SIGNATURE],
        /// Whether the sender has authenticated the receiver.
        knows_receiver: bool,
    },
    /// A ping. If the sender requested this path, it does not use the path for packets to the receiver.
    Ping(u64),
    Pong(u64),
    /// Like [`Ping`](Self::Ping), and asks for packets to the sender to take this path.
    Use(u64),
    /// A request to be the exit of the sender's LAN.
    ExitRequest,
    /// Grants an exit, with this address.
    ExitGrant(Ipv4Addr),
    ExitRefused(ExitRefusal),
    /// An MTU probe of this length.
    MtuProbe(u16),
    /// The answer to an MTU probe of this length.
    MtuProbeReply(u16),
}

/// Why an exit request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitRefusal {
    /// The exit's policies allow nothing from `path` to `uplink`.
    Policy,
    Full,
    /// The sender is itself the exit of the other node.
    Mutual,
    /// The kernel refused the tunnel.
    Failed,
}

impl ExitRefusal {
    const ALL: [Self; 4] = [Self::Policy, Self::Full, Self::Mutual, Self::Failed];

    fn number(self) -> u8 {
        match self {
            Self::Policy => 1,
            Self::Full => 2,
            Self::Mutual => 3,
            Self::Failed => 4,
        }
    }
}

impl fmt::Display for ExitRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Policy => "no line there lets anything from `path` to `uplink`",
            Self::Full => "all of its places are taken",
            Self::Mutual => "it leaves by this box itself",
            Self::Failed => "it cannot, and its log says why",
        })
    }
}

/// The sender's role on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndRole {
    /// The node that requested the path.
    Source,
    /// The node at the path's end.
    End,
}

impl EndRole {
    /// This node's role on a path.
    pub fn of(path_end: &PathEnd) -> Self {
        if path_end.is_source { Self::Source } else { Self::End }
    }

    fn number(self) -> u8 {
        match self {
            Self::Source => 1,
            Self::End => 2,
        }
    }

    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::End,
            Self::End => Self::Source,
        }
    }
}

/// The signed context of an introduction: sender, receiver and path. Without the receiver, a node in the middle
/// could request a path to a third node, exchange the keys, and have the source introduce itself to the third
/// node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntroductionContext {
    /// The sender's role.
    pub role: EndRole,
    /// The node addresses of sender and receiver.
    pub nodes: (Ipv6Addr, Ipv6Addr),
    /// The public keys of the path, of sender and receiver. This pair exists on this path only.
    pub keys: ([u8; 32], [u8; 32]),
}

impl IntroductionContext {
    fn body(&self) -> Vec<u8> {
        let Self { role, nodes: (own, other), keys: (own_key, other_key) } = self;
        [&[role.number()][..], &own.octets(), &other.octets(), own_key, other_key].concat()
    }
}

impl Inner {
    pub fn introduce(own: &Certified, context: &IntroductionContext, knows_receiver: bool) -> Self {
        let key: &PrivateKey = &own.key;
        let signature = key.sign(Domain::Introduction, &context.body());
        let certificate = Box::new(own.certificate.clone());
        Self::Introduction { certificate, signature, knows_receiver }
    }

    /// The introduction of `own` on this end of a path to the node `other` at the far end.
    pub fn introduce_on(path_end: &PathEnd, own: &Certified, other: Ipv6Addr) -> Self {
        let context = IntroductionContext {
            role: EndRole::of(path_end),
            nodes: (private_source::address(own), other),
            keys: (exchange::public(&path_end.secret), path_end.key),
        };
        Self::introduce(own, &context, path_end.node.is_some())
    }

    /// Whether the source of a private path takes notice of this message. Requests for an exit concern the node
    /// itself: answers to them would tell the end which node it is.
    pub fn is_for_private(&self) -> bool {
        match self {
            Self::Introduction { .. } | Self::Ping(_) | Self::Pong(_) | Self::MtuProbe(_) => true,
            Self::Use(_)
            | Self::ExitRequest
            | Self::ExitGrant(_)
            | Self::ExitRefused(_)
            | Self::MtuProbeReply(_) => false,
        }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Introduction { certificate, signature, knows_receiver } => {
                let certificate = certificate.to_bytes();
                let length = (certificate.len() as u16).to_be_bytes();
                let kind = 9 + u8::from(*knows_receiver);
                [&[VERSION, kind][..], &length, &certificate, signature].concat()
            }
            Self::Ping(number) => [&[VERSION, 3][..], &number.to_be_bytes()].concat(),
            Self::Pong(number) => [&[VERSION, 4][..], &number.to_be_bytes()].concat(),
            Self::Use(number) => [&[VERSION, 5][..], &number.to_be_bytes()].concat(),
            Self::ExitRequest => vec![VERSION, 6],
            Self::ExitGrant(address) => [&[VERSION, 7][..], &address.octets()].concat(),
            Self::ExitRefused(why) => vec![VERSION, 8, why.number()],
            Self::MtuProbe(size) => {
                let mut bytes = [&[VERSION, 11][..], &size.to_be_bytes()].concat();
                let longest = mtu::LONGEST_OF_PATH.into();
                bytes.resize(usize::from(*size).clamp(HEADERS + 4, longest) - HEADERS, 0);
                bytes
            }
            Self::MtuProbeReply(size) => [&[VERSION, 12][..], &size.to_be_bytes()].concat(),
        }
    }

    /// Decodes a message. `None` if it is malformed.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[version, kind], rest) = bytes.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        match kind {
            9 | 10 => {
                let (length, rest) = rest.split_first_chunk()?;
                let length = usize::from(u16::from_be_bytes(*length));
                let (certificate, signature) = rest.split_at_checked(length)?;
                let certificate = Box::new(Certificate::from_bytes(certificate).ok()?);
                let signature = signature.try_into().ok()?;
                Some(Self::Introduction { certificate, signature, knows_receiver: kind == 10 })
            }
            3 => Some(Self::Ping(u64::from_be_bytes(rest.try_into().ok()?))),
            4 => Some(Self::Pong(u64::from_be_bytes(rest.try_into().ok()?))),
            5 => Some(Self::Use(u64::from_be_bytes(rest.try_into().ok()?))),
            6 => rest.is_empty().then_some(Self::ExitRequest),
            7 => {
                let address = Ipv4Addr::from(<[u8; 4]>::try_from(rest).ok()?);
                let is_one =
                    is_exit_address(address.into()) && !matches!(address.octets()[3], 0 | 255);
                is_one.then_some(Self::ExitGrant(address))
            }
            8 => {
                let [number] = rest else { return None };
                ExitRefusal::ALL
                    .into_iter()
                    .find(|why| why.number() == *number)
                    .map(Self::ExitRefused)
            }
            11 => {
                let (size, filler) = rest.split_first_chunk()?;
                let size = u16::from_be_bytes(*size);
                let is_whole = bytes.len() + HEADERS == usize::from(size);
                let is_one = is_whole && filler.iter().all(|byte| *byte == 0);
                (is_one && size <= mtu::LONGEST_OF_PATH).then_some(Self::MtuProbe(size))
            }
            12 => Some(Self::MtuProbeReply(u16::from_be_bytes(rest.try_into().ok()?))),
            _ => None,
        }
    }
}

/// Whether this is an introduction of an older version, which did not name its receiver.
pub fn is_outdated(bytes: &[u8]) -> bool {
    matches!(bytes, [VERSION, 1 | 2, ..])
}

/// Whether the certified key has signed this introduction.
pub fn verify_introduction(
    certificate: &Certificate,
    signature: &[u8; SIGNATURE],
    context: &IntroductionContext,
) -> bool {
    let statement = certificate.body();
    statement.unit.as_str() == UNIT
        && NodeAddress::of(&statement.node).ip() == context.nodes.0
        && verify(&statement.key, Domain::Introduction, &context.body(), signature)
}

/// Whether the membership map accepts a certificate. A node that is not in the map is accepted unless it was
/// revoked; a node that is must not use a key older than the one in the map.
pub fn is_accepted(certificate: &Certificate, map: &Map) -> bool {
    let said = certificate.body();
    let known = map.member_by_key(&said.node).and_then(|member| member.certificate(UNIT));
    let is_late = known.map(Certificate::body).is_none_or(|known| {
        said.epoch > known.epoch || said.epoch == known.epoch && said.key == known.key
    });
    is_late && !map.revoked.contains(&said.node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::certificate::KeyStatement;
    use octet_node::map::{MapVersion, Member};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn certified(unit: &str) -> Certified {
        let (node, key) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let unit = unit.parse().unwrap();
        let statement =
            KeyStatement { node: node.public(), unit, key: key.public(), epoch: 1, issued: 7 };
        Certified { certificate: Certificate::sign(statement, &node).unwrap(), key: Arc::new(key) }
    }

    fn node(certified: &Certified) -> Ipv6Addr {
        NodeAddress::of(&certified.certificate.body().node).ip()
    }

    /// Whether the receiver accepts the introduction.
    fn is_believed(
        certified: &Certified,
        said: &IntroductionContext,
        heard: &IntroductionContext,
    ) -> bool {
        let inner = Inner::introduce(certified, said, true);
        assert_eq!(Inner::from_bytes(&inner.to_bytes()), Some(inner.clone()));
        let Inner::Introduction { certificate, signature, .. } = inner else { panic!() };
        verify_introduction(&certificate, &signature, heard)
    }

    #[test]
    fn only_on_this_path_and_only_forward() {
        let (one, other, third) = (certified(UNIT), certified(UNIT), certified(UNIT));
        let (role, keys) = (EndRole::Source, ([1; 32], [2; 32]));
        let about = IntroductionContext { role, nodes: (node(&one), node(&other)), keys };
        assert!(is_believed(&one, &about, &about));
        for heard in [
            IntroductionContext { keys: ([1; 32], [3; 32]), ..about },
            IntroductionContext { keys: ([2; 32], [1; 32]), ..about },
            IntroductionContext { role: EndRole::End, ..about },
            IntroductionContext { nodes: (node(&one), node(&third)), ..about },
            IntroductionContext { nodes: (node(&third), node(&other)), ..about },
        ] {
            assert!(!is_believed(&one, &about, &heard), "{heard:?}");
        }
        let cache = certified("cache");
        let of_cache = IntroductionContext { nodes: (node(&cache), node(&other)), ..about };
        assert!(!is_believed(&cache, &of_cache, &of_cache));
        let mixed = Certified { certificate: one.certificate, key: other.key };
        assert!(!is_believed(&mixed, &about, &about));
    }

    /// The node `between` was requested as the end, and requests a path to `third` with the source's key. The
    /// two ends then share a path, but neither is the node that the other one wants.
    #[test]
    fn a_node_between_cannot_pass_itself_off_as_the_source() {
        let (source, between, third) = (certified(UNIT), certified(UNIT), certified(UNIT));
        let (role, keys) = (EndRole::Source, ([1; 32], [2; 32]));
        let says = IntroductionContext { role, nodes: (node(&source), node(&between)), keys };
        let hears = IntroductionContext { role, nodes: (node(&source), node(&third)), keys };
        assert!(is_believed(&source, &says, &says) && !is_believed(&source, &says, &hears));
    }

    #[test]
    fn introductions_without_a_receiver_are_outdated() {
        for kind in [1, 2] {
            let bytes = [VERSION, kind, 0, 0];
            assert!(is_outdated(&bytes) && Inner::from_bytes(&bytes).is_none());
        }
    }

    #[test]
    fn revoked_nodes_and_old_keys_do_not_count() {
        let key = || PrivateKey::generate().unwrap();
        let (one, other, stranger) = (key(), key(), key());
        let (old, new) = (key().public(), key().public());
        let certificate = |node: &PrivateKey, key, epoch| {
            let statement = KeyStatement {
                node: node.public(),
                unit: UNIT.parse().unwrap(),
                key,
                epoch,
                issued: 7,
            };
            Certificate::sign(statement, node).unwrap()
        };
        let certificates = vec![certificate(&one, new, 2)];
        let (addresses, record, drained) = (vec![], None, false);
        let member =
            Member { number: 1, node: one.public(), addresses, certificates, record, drained };
        let map =
            |revoked| Map::new(one.public(), MapVersion::default(), vec![member.clone()], revoked);
        let before = map(vec![]);
        assert!(is_accepted(&certificate(&one, new, 2), &before));
        // The map may be outdated.
        assert!(is_accepted(&certificate(&one, old, 3), &before));
        assert!(!is_accepted(&certificate(&one, old, 1), &before));
        assert!(!is_accepted(&certificate(&one, old, 2), &before));
        for node in [&other, &stranger] {
            assert!(is_accepted(&certificate(node, old, 1), &before));
        }
        let after = map(vec![other.public()]);
        assert!(!is_accepted(&certificate(&other, old, 1), &after));
        assert!(is_accepted(&certificate(&stranger, old, 1), &after));
    }

    /// Only addresses that exits assign are accepted: others could be the node's own or its gateway's.
    #[test]
    fn places_are_what_they_are() {
        let place = |address: &str| Inner::ExitGrant(address.parse().unwrap());
        for said in [Inner::ExitRequest, place("100.127.255.1"), place("100.127.255.254")] {
            assert_eq!(Inner::from_bytes(&said.to_bytes()), Some(said));
        }
        for why in ExitRefusal::ALL {
            let said = Inner::ExitRefused(why);
            assert_eq!(Inner::from_bytes(&said.to_bytes()), Some(said));
        }
        for size in [mtu::MIN_OF_PATH, mtu::LONGEST_OF_PATH] {
            let probe = Inner::MtuProbe(size).to_bytes();
            assert_eq!(probe.len() + HEADERS, usize::from(size));
            assert_eq!(Inner::from_bytes(&probe), Some(Inner::MtuProbe(size)));
            let probed = Inner::MtuProbeReply(size);
            assert_eq!(Inner::from_bytes(&probed.to_bytes()), Some(probed));
        }
        for other in ["100.127.255.0", "100.127.255.255", "100.127.254.1", "192.0.2.1", "127.0.0.1"]
        {
            assert_eq!(Inner::from_bytes(&place(other).to_bytes()), None, "{other}");
        }
        for other in [
            &[1, 6, 0][..],
            &[1, 7],
            &[1, 7, 100, 127, 255],
            &[1, 7, 100, 127, 255, 1, 0],
            &[1, 8],
            &[1, 8, 0],
            &[1, 8, 5],
            &[1, 8, 1, 1],
            &[1, 11, 0, 51],
            &[1, 11, 0, 53, 1],
            &[1, 11, 0, 52, 1, 0],
            &[1, 12, 1],
        ] {
            assert_eq!(Inner::from_bytes(other), None, "{other:?}");
        }
    }

    /// A request for an exit would be answered for the node itself.
    #[test]
    fn the_source_of_a_private_path_answers_for_nothing_else() {
        let introduction = Inner::Introduction {
            certificate: Box::new(certified(UNIT).certificate),
            signature: [0; SIGNATURE],
            knows_receiver: true,
        };
        for said in [introduction, Inner::Ping(1), Inner::Pong(1), Inner::MtuProbe(1280)] {
            assert!(said.is_for_private(), "{said:?}");
        }
        let address = Ipv4Addr::new(100, 127, 255, 1);
        let exit = [Inner::ExitRequest, Inner::ExitGrant(address), Inner::Use(1)];
        let refused = ExitRefusal::ALL.map(Inner::ExitRefused);
        for said in exit.into_iter().chain(refused).chain([Inner::MtuProbeReply(1280)]) {
            assert!(!said.is_for_private(), "{said:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(kind in 0u8..13, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = [&[VERSION, kind][..], &bytes].concat();
            if let Some(inner) = Inner::from_bytes(&bytes) {
                prop_assert_eq!(inner.to_bytes(), bytes);
            }
        }
    }
}
