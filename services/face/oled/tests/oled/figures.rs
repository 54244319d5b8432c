//! Boxes of the tests.

use octet_oled::{NodeCondition, OledFigures, OledKey, OledNode};

pub const KEY: [u8; 32] = [
    0x3b, 0x6a, 0x27, 0xbc, 0xce, 0xb6, 0xa4, 0x2d, 0x62, 0xa3, 0xa8, 0xd0, 0x2a, 0x6f, 0x0d, 0x73,
    0x65, 0x32, 0x15, 0x77, 0x1d, 0xe2, 0x43, 0xa6, 0x3a, 0xc0, 0x48, 0xa1, 0x8b, 0x59, 0xda, 0x29,
];

const KEY_TEXT: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";

/// A minute of traffic with a gap in it.
pub fn traffic() -> Vec<Option<u64>> {
    let sample = |second: u64| (second / 7 != 3).then_some(second * second % 37 * 300_000);
    (0..60).map(sample).collect()
}

/// So many boards, of which some are not ready.
pub fn nodes(count: u8) -> Vec<OledNode> {
    let condition = |number| match number {
        3 => NodeCondition::NotHeard,
        6 => NodeCondition::Trouble,
        7 | 20 => NodeCondition::Off,
        29.. => NodeCondition::Empty,
        13 | 18 => NodeCondition::NotHeard,
        _ => NodeCondition::Ready,
    };
    (1..=count).map(|number| OledNode { number, condition: condition(number) }).collect()
}

/// A box that has started.
pub fn ready<'a>(nodes: &'a [OledNode], traffic: &'a [Option<u64>]) -> OledFigures<'a> {
    OledFigures {
        name: "kitchen",
        address: Some("192.168.178.23"),
        key: Some(OledKey { bytes: KEY, text: KEY_TEXT }),
        nodes,
        cpu_percent: Some(34),
        memory_percent: Some(58),
        received: Some(12_345_678),
        sent: Some(340_000),
        traffic,
        coins_per_hour: Some(12.5),
        alarm: None,
    }
}

/// A box that has started a moment ago.
pub fn starting() -> OledFigures<'static> {
    OledFigures { name: "kitchen", ..OledFigures::default() }
}
