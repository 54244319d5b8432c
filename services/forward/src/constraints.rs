//! Turns the arguments of `path-add` into constraints for the graph search.

use std::collections::BTreeSet;

use octet_node::control::{Failure, FailureCode};

use crate::graph::{HOPS, PathConstraints};
use crate::private_source;
use octet_node::address::NodeAddress;
use octet_node::bytes::Fields;

/// The arguments of `path-add`. Nodes are given by their display names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathRequest {
    /// The destination.
    pub to: String,
    /// `via`: the relays, separated by commas.
    pub via: Option<String>,
    /// `avoid`: nodes that the path must not pass, separated by commas.
    pub avoid: Option<String>,
    /// `max-latency-ms`: the maximum round-trip time, in milliseconds.
    pub milliseconds: Option<u64>,
    /// `min-bandwidth-kbps`: the minimum capacity of each link, in kbit/s.
    pub kilobits: Option<u64>,
    /// `max-price`: the maximum price for 2^30 bytes, in millionths of the unit of account.
    pub price: Option<u64>,
    /// `hops`: the minimum number of relays.
    pub hops: Option<u64>,
    /// The rate limit for each direction, in kbit/s; 0 means unlimited.
    pub rate: u32,
    /// Whether the path has no backup path.
    pub alone: bool,
    /// Whether the path replaces the node's existing route.
    pub replace: bool,
    /// Whether the path has a source of its own, which is not this node for its end. It is no route to the node.
    pub private: bool,
}

/// The constraints of a path to `to` for the request `request`. `node` resolves display names.
///
/// # Errors
/// An argument is out of range or conflicts with another one; the failure names it.
pub fn parse(
    request: &PathRequest,
    to: NodeAddress,
    node: impl Fn(&str) -> Result<NodeAddress, Failure>,
) -> Result<PathConstraints, Failure> {
    let given = given(request);
    if request.private && request.replace {
        let message = "`replace` and `private` do not go together".to_owned();
        return Err(bad_argument(message, "a private path is beside the route: leave one out"));
    }
    if request.private && request.hops == Some(0) {
        let message =
            "`hops` is 0: the end of a private path would be next to this node".to_owned();
        return Err(bad_argument(message, "give 1 to 6; with 1, the relay knows both ends"));
    }
    if let (Some(_), Some(first)) = (&request.via, given.first()) {
        let message = format!("`{first}` and `via` do not go together");
        return Err(bad_argument(message, "`via` names all relays: leave one of the two out"));
    }
    let avoid = request.avoid.as_deref().unwrap_or_default().split(',').map(str::trim);
    let avoid: BTreeSet<_> =
        avoid.filter(|it| !it.is_empty()).map(node).collect::<Result<_, _>>()?;
    if avoid.contains(&to) {
        let help = "leave it out there: a path does not avoid its end";
        return Err(bad_argument(
            "`avoid` names the node that the path is to lead to".to_owned(),
            help,
        ));
    }
    if request.avoid.is_some() && avoid.is_empty() {
        return Err(bad_argument(
            "`avoid` names no node".to_owned(),
            "give nodes with commas between",
        ));
    }
    let number = |name: &str, given: Option<u64>| {
        let too_much = || {
            let help = format!("give at most {}", u32::MAX);
            bad_argument(format!("`{name}` is too large a number"), &help)
        };
        given.map(|it| u32::try_from(it).map_err(|_| too_much())).transpose()
    };
    let milliseconds = number("max-latency-ms", request.milliseconds)?;
    if milliseconds == Some(0) {
        let help = "give whole milliseconds, there and back";
        return Err(bad_argument("`max-latency-ms` is 0: no path is that short".to_owned(), help));
    }
    let relays = request.hops.unwrap_or(if request.private { private_source::RELAYS } else { 0 });
    let relays = usize::try_from(relays).ok().filter(|it| *it < HOPS).ok_or_else(|| {
        let help =
            format!("give 0 to {}: a path has {HOPS} hops at most, its end included", HOPS - 1);
        bad_argument(format!("`hops` is {relays}: no path has as many relays"), &help)
    })?;
    Ok(PathConstraints {
        avoid,
        price: number("max-price", request.price)?,
        // The argument is a round trip in milliseconds; the graph uses one way in tenths.
        length: milliseconds.map(|it| it.saturating_mul(5)),
        capacity: number("min-bandwidth-kbps", request.kilobits)?.unwrap_or(0),
        relays,
    })
}

/// The given arguments that constrain an automatically chosen path.
fn given(wanted: &PathRequest) -> Vec<&'static str> {
    let all = [
        ("avoid", wanted.avoid.is_some()),
        ("max-latency-ms", wanted.milliseconds.is_some()),
        ("min-bandwidth-kbps", wanted.kilobits.is_some()),
        ("max-price", wanted.price.is_some()),
        ("hops", wanted.hops.is_some()),
    ];
    all.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
}

/// The persisted encoding: relays (1 byte), capacity (4), length and price (4 each; all ones: no limit), and
/// the addresses of avoided nodes (16 each). Numbers are big-endian.
pub fn to_bytes(limits: &PathConstraints) -> Vec<u8> {
    let PathConstraints { avoid, price, length, capacity, relays } = limits;
    let or_any = |it: &Option<u32>| it.unwrap_or(u32::MAX);
    let mut bytes = vec![*relays as u8];
    for number in [*capacity, or_any(length), or_any(price)] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(avoid.iter().flat_map(|node| node.octets()));
    bytes
}

/// Decodes the constraints. `None` if the bytes are malformed.
pub fn from_bytes(bytes: &[u8]) -> Option<PathConstraints> {
    let mut fields = Fields(bytes);
    let (relays, capacity) = (usize::from(fields.u8()?), fields.u32()?);
    let or_any = |it: u32| (it < u32::MAX).then_some(it);
    let (length, price) = (or_any(fields.u32()?), or_any(fields.u32()?));
    let (nodes, rest) = fields.0.as_chunks::<16>();
    let avoid =
        nodes.iter().map(|node| NodeAddress::try_from(*node).ok()).collect::<Option<_>>()?;
    let is_whole = rest.is_empty() && relays < HOPS;
    is_whole.then_some(PathConstraints { avoid, price, length, capacity, relays })
}

fn bad_argument(message: String, help: &str) -> Failure {
    Failure::new(FailureCode::BadArgument, message, help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::control::PublicKey;
    use proptest::prelude::*;

    fn board(number: u8) -> NodeAddress {
        NodeAddress::of(&PublicKey::new([number; 32]))
    }

    /// For a path to board 5.
    fn read(wanted: &PathRequest) -> Result<PathConstraints, Failure> {
        let unknown = || Failure::new(FailureCode::BadArgument, "no node", "");
        parse(wanted, board(5), |text| text.parse().map(board).map_err(|_| unknown()))
    }

    #[test]
    fn each_is_a_limit() {
        let all = PathRequest {
            avoid: Some("2, 3".into()),
            milliseconds: Some(40),
            kilobits: Some(1000),
            price: Some(7),
            hops: Some(2),
            ..PathRequest::default()
        };
        let expected = PathConstraints {
            avoid: [board(2), board(3)].into(),
            price: Some(7),
            length: Some(200),
            capacity: 1000,
            relays: 2,
        };
        assert_eq!(read(&all).unwrap(), expected);
        let via = PathRequest { via: Some("2,3".into()), ..PathRequest::default() };
        assert_eq!(read(&via).unwrap(), PathConstraints::default());
    }

    #[test]
    fn a_private_path_has_two_relays_unless_one_is_asked_for() {
        let private = PathRequest { private: true, ..PathRequest::default() };
        assert_eq!(read(&private).unwrap().relays, 2);
        for hops in [1, 3] {
            let asked = PathRequest { hops: Some(hops), ..private.clone() };
            assert_eq!(read(&asked).unwrap().relays, hops as usize);
        }
        let none = PathRequest { hops: Some(0), ..private.clone() };
        assert!(read(&none).unwrap_err().message.contains("`hops` is 0"));
        let replacing = PathRequest { replace: true, ..private };
        assert!(read(&replacing).unwrap_err().message.contains("`replace` and `private`"));
        assert_eq!(
            read(&PathRequest { hops: Some(0), ..PathRequest::default() }).unwrap().relays,
            0
        );
    }

    #[test]
    fn what_cannot_be_is_named() {
        let large = u64::from(u32::MAX) + 1;
        let none = PathRequest::default;
        let avoid = |text: &str| PathRequest { avoid: Some(text.into()), ..none() };
        let hops = |hops| PathRequest { hops: Some(hops), ..none() };
        let milliseconds = |it| PathRequest { milliseconds: Some(it), ..none() };
        for (wanted, named) in [
            (avoid("2,5"), "`avoid`"),
            (avoid(" ,"), "`avoid`"),
            (avoid("x"), "no node"),
            (hops(7), "`hops` is 7"),
            (hops(u64::MAX), "`hops`"),
            (milliseconds(0), "`max-latency-ms`"),
            (milliseconds(large), "`max-latency-ms`"),
            (PathRequest { kilobits: Some(large), ..none() }, "`min-bandwidth-kbps`"),
            (PathRequest { price: Some(large), ..none() }, "`max-price`"),
            (PathRequest { via: Some("2".into()), ..hops(1) }, "`hops` and `via`"),
        ] {
            let failure = read(&wanted).unwrap_err();
            assert!(failure.message.contains(named), "{wanted:?}: {failure:?}");
        }
        assert!(read(&hops(6)).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read(
            avoid: Vec<u8>,
            price: Option<u32>,
            milliseconds in 1u32..,
            capacity: u32,
            relays in 0..HOPS,
        ) {
            let avoid = avoid.into_iter().map(board).collect();
            let price = price.filter(|it| *it < u32::MAX);
            let length = Some(milliseconds.saturating_sub(1));
            let limits = PathConstraints { avoid, price, length, capacity, relays };
            let bytes = to_bytes(&limits);
            prop_assert_eq!(from_bytes(&bytes), Some(limits));
            prop_assert_eq!(from_bytes(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn any_are_read_or_refused(avoid in "[0-9, x]{0,12}", hops: u64, milliseconds: u64) {
            let (avoid, hops, milliseconds) = (Some(avoid), Some(hops), Some(milliseconds));
            if let Ok(limits) = read(&PathRequest { avoid, hops, milliseconds, ..PathRequest::default() }) {
                prop_assert!(limits.relays < HOPS && !limits.avoid.contains(&board(5)));
            }
        }
    }
}
