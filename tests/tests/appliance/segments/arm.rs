//! The same tests on AArch64: with the seed's kernel, and with that of boards, which is older.

use octet_tests::{AARCH64, BOARD, shipped_for};

use crate::segments::attacks;
use crate::segments::site::{Site, remake, text};
use crate::segments::sweep::{expected, pairs};

const LINES: &str = r#"
[[policy]]
from = "board-1"
to = "board-2"
protocol = "tcp"
ports = [8080]

[[policy]]
from = "boards"
to = "uplink"
protocol = "udp"
ports = [4433]
"#;

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_router_with_an_arm_processor() {
    sweep(AARCH64);
}

#[test]
#[ignore = "long: `segments::pairs` is that on the kernel of the seed"]
fn a_router_with_the_kernel_of_boards() {
    sweep(BOARD);
}

#[test]
#[ignore = "long: `segments::attacks` is that on the kernel of the seed"]
fn attacks_with_the_kernel_of_boards() {
    attacks::are_dropped_by(&shipped_for(BOARD));
}

fn sweep(target: &str) {
    let text = text(4, LINES);
    let image = remake(&shipped_for(target), &text).image();
    let mut site = Site::of(&image, &text, None, None);
    site.wait_ready();
    let mut asked = pairs(&site.world.zones(), &site.world.worth_a_probe());
    let mut others = (0..).map(|number| number % 10 == 0);
    asked.retain(|asked| expected(&site.world, *asked).is_some() || others.next().unwrap_or(false));
    site.sweep(&asked).must_be_right(&site);
}
