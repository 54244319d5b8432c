//! A box whose nodes have disks: with faults, and with attackers.

use octet_machine::Node;
use octet_tests::{DiskFile, Owner, shipped};
use serde_json::json;

use crate::cluster::site::{Site, text};
use crate::cluster::{refused, trouble};

/// The size of a medium in MiB: sufficient for an image and its data.
const MEDIUM: u64 = 512;

/// The three boards at their own ports.
pub const PLACES: [(Node, u8); 3] = [(Node::Board(1), 1), (Node::Board(2), 2), (Node::Board(3), 3)];

/// The box and its disks.
pub struct Kept {
    pub site: Site,
    pub router: DiskFile,
    boards: [DiskFile; 3],
}

/// The settings require an owner's approval of each board.
pub fn lines(key: &str) -> String {
    format!(
        "enrol = \"approve\"\n[operator]\nkeys = [{{ key = {key:?}, name = \"anna\", may = [\"own\"] }}]\n"
    )
}

impl Kept {
    fn start(lines: &str) -> Self {
        let disk = || DiskFile::flashed(&shipped(), MEDIUM);
        let (site, boards) = (Site::new(4, &text(4, lines)), [disk(), disk(), disk()]);
        let kept = Self { site, router: disk(), boards };
        kept.power_on(Node::Router);
        for (node, _) in PLACES {
            kept.power_on(node);
        }
        kept.site.wait_ready(Node::Router);
        for (node, number) in PLACES {
            kept.site.wait_ready(node);
            kept.approve(number);
        }
        kept
    }

    /// Approves the node that waits at `number`.
    pub fn approve(&self, number: u8) {
        self.site.wait("it waits", || self.site.row(number)["state"] == "pending");
        self.site.ask(Node::Router, "cluster", "approve", json!({ "number": number.to_string() }));
    }

    /// Powers a node on with its own disk.
    pub fn power_on(&self, node: Node) {
        let disk = match node {
            Node::Router => &self.router,
            Node::Board(number) => &self.boards[usize::from(number) - 1],
        };
        self.site.power_on_with(node, disk);
    }

    /// Cuts a node's power.
    pub fn power_off(&self, node: Node) {
        self.site.cluster.cut_power(node).unwrap();
    }
}

/// Without guests, `services/cluster/tests/daemon` and `services/cluster/src/registry/tests.rs` show
/// all of it.
#[test]
#[ignore = "long: `cargo image test --soak`"]
fn a_box_stays_what_it_is() {
    let owner = Owner::new();
    let key = owner.keygen("anna");
    let kept = Kept::start(&lines(&key));
    println!("enrolled: {:?}", kept.site.wait_whole(&PLACES));
    trouble::passes(&kept);
    let old = trouble::disk_of_now(&kept);
    refused::are_told_of(&kept, &owner, &key, old);
}
