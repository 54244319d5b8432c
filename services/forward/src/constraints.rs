//! What a person wants of a path: from the arguments of `path-add` to the limits of the graph.

use std::collections::BTreeSet;

use octet_node::control::{Arguments, Failure, FailureCode};

use crate::graph::{HOPS, Limits};
use octet_node::address::Address;
use octet_node::bytes::Fields;

/// Arguments that say what a path that nobody has chosen by hand must be like.
pub const ALL: [&str; 5] = ["avoid", "most-milliseconds", "least-kilobits", "most-price", "hops"];

/// Reads them. `node` says which node people call so.
///
/// # Errors
/// One says what no path can be, or does not go with another; the failure names it.
pub fn limits(
    args: &Arguments,
    to: Address,
    node: impl Fn(&str) -> Result<Address, Failure>,
) -> Result<Limits, Failure> {
    let given = given(args);
    if let (Some(_), Some(first)) = (args.text("via"), given.first()) {
        let message = format!("`{first}` and `via` do not go together");
        return Err(bad(message, "`via` names all relays: leave one of the two out"));
    }
    let avoid = args.text("avoid").unwrap_or_default().split(',').map(str::trim);
    let avoid: BTreeSet<_> =
        avoid.filter(|it| !it.is_empty()).map(node).collect::<Result<_, _>>()?;
    if avoid.contains(&to) {
        let help = "leave it out there: a path does not avoid its end";
        return Err(bad("`avoid` names the node that the path is to lead to".to_owned(), help));
    }
    if args.text("avoid").is_some() && avoid.is_empty() {
        return Err(bad("`avoid` names no node".to_owned(), "give nodes with commas between"));
    }
    let number = |name: &str| {
        let too_much = || {
            let help = format!("give at most {}", u32::MAX);
            bad(format!("`{name}` is too large a number"), &help)
        };
        args.integer(name).map(|it| u32::try_from(it).map_err(|_| too_much())).transpose()
    };
    let milliseconds = number("most-milliseconds")?;
    if milliseconds == Some(0) {
        let help = "give whole milliseconds, there and back";
        return Err(bad("`most-milliseconds` is 0: no path is that short".to_owned(), help));
    }
    let relays = args.integer("hops").unwrap_or(0);
    let relays = usize::try_from(relays).ok().filter(|it| *it < HOPS).ok_or_else(|| {
        let help =
            format!("give 0 to {}: a path has {HOPS} hops at most, its end included", HOPS - 1);
        bad(format!("`hops` is {relays}: no path has as many relays"), &help)
    })?;
    Ok(Limits {
        avoid,
        price: number("most-price")?,
        // There and back in milliseconds; the graph has one way, in tenths.
        length: milliseconds.map(|it| it.saturating_mul(5)),
        capacity: number("least-kilobits")?.unwrap_or(0),
        relays,
    })
}

/// Those that are given.
pub fn given(args: &Arguments) -> Vec<&'static str> {
    let is_given = |name: &&str| args.text(name).is_some() || args.integer(name).is_some();
    ALL.into_iter().filter(is_given).collect()
}

/// As they are kept: relays (1 byte), capacity (4), length and price (4 each; all ones: any), and the addresses
/// of those that are avoided (16 each). Numbers are big-endian.
pub fn to_bytes(limits: &Limits) -> Vec<u8> {
    let Limits { avoid, price, length, capacity, relays } = limits;
    let or_any = |it: &Option<u32>| it.unwrap_or(u32::MAX);
    let mut bytes = vec![*relays as u8];
    for number in [*capacity, or_any(length), or_any(price)] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(avoid.iter().flat_map(|node| node.octets()));
    bytes
}

/// Reads them. `None` if they are none.
pub fn from_bytes(bytes: &[u8]) -> Option<Limits> {
    let mut fields = Fields(bytes);
    let (relays, capacity) = (usize::from(fields.u8()?), fields.u32()?);
    let or_any = |it: u32| (it < u32::MAX).then_some(it);
    let (length, price) = (or_any(fields.u32()?), or_any(fields.u32()?));
    let (nodes, rest) = fields.0.as_chunks::<16>();
    let avoid = nodes.iter().map(|node| Address::try_from(*node).ok()).collect::<Option<_>>()?;
    let is_whole = rest.is_empty() && relays < HOPS;
    is_whole.then_some(Limits { avoid, price, length, capacity, relays })
}

fn bad(message: String, help: &str) -> Failure {
    Failure::new(FailureCode::BadArgument, message, help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::control::{PublicKey, Verb};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn board(number: u8) -> Address {
        Address::of(&PublicKey::new([number; 32]))
    }

    /// As they come to the unit, for a path to board 5.
    fn read(args: Value) -> Result<Limits, Failure> {
        let Value::Object(args) = args else { panic!("{args}") };
        let verbs = crate::verbs::verbs();
        let args = Verb::find(&verbs, "path-add").unwrap().check(args).unwrap();
        let unknown = || Failure::new(FailureCode::BadArgument, "no node", "");
        limits(&args, board(5), |text| text.parse().map(board).map_err(|_| unknown()))
    }

    #[test]
    fn each_is_a_limit() {
        let all = json!({
            "to": "5", "avoid": "2, 3", "most-milliseconds": 40, "least-kilobits": 1000,
            "most-price": 7, "hops": 2,
        });
        let wanted = Limits {
            avoid: [board(2), board(3)].into(),
            price: Some(7),
            length: Some(200),
            capacity: 1000,
            relays: 2,
        };
        assert_eq!(read(all).unwrap(), wanted);
        assert_eq!(read(json!({ "to": "5", "via": "2,3" })).unwrap(), Limits::default());
    }

    #[test]
    fn what_cannot_be_is_named() {
        let large = u64::from(u32::MAX) + 1;
        for (args, named) in [
            (json!({ "avoid": "2,5" }), "`avoid`"),
            (json!({ "avoid": " ," }), "`avoid`"),
            (json!({ "avoid": "x" }), "no node"),
            (json!({ "hops": 7 }), "`hops` is 7"),
            (json!({ "hops": u64::MAX }), "`hops`"),
            (json!({ "most-milliseconds": 0 }), "`most-milliseconds`"),
            (json!({ "most-milliseconds": large }), "`most-milliseconds`"),
            (json!({ "least-kilobits": large }), "`least-kilobits`"),
            (json!({ "most-price": large }), "`most-price`"),
            (json!({ "via": "2", "hops": 1 }), "`hops` and `via`"),
        ] {
            let Value::Object(mut args) = args else { panic!() };
            args.insert("to".into(), "5".into());
            let failure = read(Value::Object(args.clone())).unwrap_err();
            assert!(failure.message.contains(named), "{args:?}: {failure:?}");
        }
        assert!(read(json!({ "to": "5", "hops": 6 })).is_ok());
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
            let limits = Limits { avoid, price, length, capacity, relays };
            let bytes = to_bytes(&limits);
            prop_assert_eq!(from_bytes(&bytes), Some(limits));
            prop_assert_eq!(from_bytes(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn any_are_read_or_refused(avoid in "[0-9, x]{0,12}", hops: u64, milliseconds: u64) {
            let args = json!({ "to": "5", "avoid": avoid, "hops": hops, "most-milliseconds": milliseconds });
            if let Ok(limits) = read(args) {
                prop_assert!(limits.relays < HOPS && !limits.avoid.contains(&board(5)));
            }
        }
    }
}
