//! The router of the largest box has 34 network cards.

use octet_machine::panel::Mac;
use octet_tests::{AARCH64, Image, READY, shipped, shipped_for};
use serde_json::json;

/// 32 boards, one for the owner's devices, one for the uplink.
const MAX: u8 = 34;

/// The names of the cards with their MAC addresses, as configured by `image`.
fn named(image: &Image, count: u8) -> Vec<(String, String)> {
    let builder = (0..count).fold(image.machine(), |it, number| it.nic(Mac::number(number)));
    let machine = builder.start().unwrap();
    machine.wait_ready(READY).unwrap_or_else(|error| panic!("{error}"));
    let shown = machine.call_unit("netd", "show", json!({})).unwrap();
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let links = shown["links"].as_array().unwrap().iter();
    let mut named: Vec<_> =
        links.filter_map(|link| Some((text(&link["mac"])?, text(&link["name"])?))).collect();
    named.sort();
    named
}

/// In the short tier each test of `segments` needs this of a few cards.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn they_are_named_in_the_order_in_which_they_are_added() {
    for image in [shipped(), shipped_for(AARCH64)] {
        for count in [MAX, 17, 16] {
            let expected: Vec<_> = (0..count)
                .map(|number| (Mac::number(number).to_string(), format!("eth{number}")))
                .collect();
            assert_eq!(named(&image, count), expected, "{:?}", image.architecture);
        }
    }
}
