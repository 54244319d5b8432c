//! What holds for all figures.

use octet_oled::{
    COLUMNS, NodeCondition, OledController, OledFigures, OledKey, OledNode, OledPage, OledSize,
    Picture, SHIFTS, draw, half_blocks, svg,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::mock::MockDisplay;

/// Figures whose texts and lists are their own.
#[derive(Clone, Debug)]
struct Owned {
    name: String,
    address: Option<String>,
    key: Option<([u8; 32], String)>,
    nodes: Vec<OledNode>,
    percents: [Option<u8>; 2],
    rates: [Option<u64>; 2],
    traffic: Vec<Option<u64>>,
    coins: Option<f64>,
    alarm: Option<String>,
}

impl Owned {
    fn figures(&self) -> OledFigures<'_> {
        OledFigures {
            name: &self.name,
            address: self.address.as_deref(),
            key: self.key.as_ref().map(|(bytes, text)| OledKey { bytes: *bytes, text }),
            nodes: &self.nodes,
            cpu_percent: self.percents[0],
            memory_percent: self.percents[1],
            received: self.rates[0],
            sent: self.rates[1],
            traffic: &self.traffic,
            coins_per_hour: self.coins,
            alarm: self.alarm.as_deref(),
        }
    }
}

prop_compose! {
    fn node()(number in any::<u8>(), condition in 0..5usize) -> OledNode {
        let condition = [
            NodeCondition::Ready,
            NodeCondition::Trouble,
            NodeCondition::NotHeard,
            NodeCondition::Off,
            NodeCondition::Empty,
        ][condition];
        OledNode { number, condition }
    }
}

/// Texts with all kinds of characters, also those that end a line.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~\n\r\t.üß箱]{0,40}"]
}

prop_compose! {
    fn owned()(
        name in text(),
        address in prop::option::of(prop_oneof![text(), "[0-9]{1,3}(\\.[0-9]{1,3}){3}"]),
        key in prop::option::of((any::<[u8; 32]>(), text())),
        nodes in vec(node(), 0..80),
        percents in any::<[Option<u8>; 2]>(),
        rates in any::<[Option<u64>; 2]>(),
        traffic in vec(any::<Option<u64>>(), 0..150),
        coins in any::<Option<f64>>(),
        alarm in prop::option::of(text()),
    ) -> Owned {
        Owned { name, address, key, nodes, percents, rates, traffic, coins, alarm }
    }
}

fn size() -> impl Strategy<Value = OledSize> {
    prop_oneof![Just(OledSize::Rows32), Just(OledSize::Rows64)]
}

fn page() -> impl Strategy<Value = OledPage> {
    prop_oneof![Just(OledPage::Identity), Just(OledPage::Load)]
}

/// The lit pixels.
fn lit(picture: &Picture) -> Vec<(usize, usize)> {
    let rows = picture.size().rows();
    let all = (0..rows).flat_map(|y| (0..COLUMNS).map(move |x| (x, y)));
    all.filter(|&(x, y)| picture.is_lit(x, y)).collect()
}

proptest! {
    /// What is drawn outside of the canvas is a panic in a test: `Canvas::draw_iter`.
    #[test]
    fn a_shift_moves_all_and_cuts_nothing(
        owned in owned(), size in size(), page in page(), shift in any::<u8>()
    ) {
        let figures = owned.figures();
        let first = lit(&draw(&figures, size, page, 0));
        let picture = draw(&figures, size, page, shift);
        let moved = lit(&picture);
        prop_assert_eq!(first.len(), moved.len());
        let offsets: Vec<_> =
            first.iter().zip(&moved).map(|(from, to)| (to.0 - from.0, to.1 - from.1)).collect();
        prop_assert!(offsets.windows(2).all(|pair| pair[0] == pair[1]));
        prop_assert!(offsets.iter().all(|offset| offset.0 <= 2 && offset.1 <= 2));
        prop_assert_eq!(half_blocks(&picture).lines().count(), size.rows() / 2);
        prop_assert!(svg(&picture).ends_with("</svg>"));
    }

    #[test]
    fn an_equal_picture_is_not_sent(
        owned in owned(), size in size(), page in page(), shift in 0..SHIFTS
    ) {
        let figures = owned.figures();
        let display = MockDisplay::new(OledController::Sh1106);
        let mut driver = display.driver(size);
        driver.show(&draw(&figures, size, page, shift)).unwrap();
        prop_assert!(!display.take_log().is_empty());
        driver.show(&draw(&figures, size, page, shift)).unwrap();
        prop_assert!(display.take_log().is_empty());
    }
}
