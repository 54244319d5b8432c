//! The box: a router and boards that do not know each other yet, wired as in a real box.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use octet_appliance::{Appliance, SETTINGS};
use octet_machine::{Builder, Cluster, Machine, Node, State, Status};
use octet_tests::{DiskFile, Image, Remake, USED, shipped};
use serde_json::{Value, json};

/// The timeout from the start of a machine until it is ready and knows its number: nine machines
/// share the host.
pub const WHOLE: Duration = Duration::from_secs(600);

/// The timeout of any later action of the box.
pub const SOON: Duration = Duration::from_secs(300);

/// The sections that a build requires, and that are not used here.
pub const IMAGE: &str = "[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

/// The memory of the router and of a board, in MiB.
const ROUTER: u32 = 384;
const BOARD: u32 = 256;

/// The kernel would calibrate the processor's counter while the host is busy, and the guest's clock
/// could run several times too fast: then answers of time servers would seem late, and set-ups too
/// old.
const CLOCK: &str = "clocksource=hpet";

pub struct Site {
    pub cluster: Cluster,
    pub image: Image,
}

/// The settings of a box of `boards`; the router's uplink uses DHCP.
pub fn text(boards: u8, lines: &str) -> String {
    format!("[appliance]\nname = \"octet\"\n[cluster]\nboards = {boards}\n{lines}\n[lan]\n")
}

/// The released image with the settings of `text`, without forward.
pub fn image(text: &str) -> Image {
    let appliance = Appliance::parse("appliance.toml", &format!("{text}\n{IMAGE}")).unwrap();
    let settings = serde_json::to_vec(&appliance).unwrap();
    place_forward_nowhere(Remake::of(&shipped()).file(SETTINGS, 0o644, settings))
}

/// `image` without forward.
pub fn without_forward(image: &Image) -> Image {
    place_forward_nowhere(Remake::of(image))
}

/// Places forward, which has tests of its own, on a board that does not exist: its links between
/// all boards use more CPU time than two processors have left.
pub fn place_forward_nowhere(remake: Remake) -> Image {
    let remake = remake.change_units(|unit| {
        if unit["name"] == "forward" {
            unit["boards"] = json!([32]);
        }
    });
    remake.image()
}

impl Site {
    /// A box of `boards` with the settings `text`; no node is on.
    pub fn new(boards: u8, text: &str) -> Self {
        Self::of(boards, image(text))
    }

    /// The same with this image.
    pub fn of(boards: u8, image: Image) -> Self {
        let cluster = Cluster::new(boards, true).unwrap();
        Self { cluster, image }
    }

    /// The same, powered on in this order, and complete.
    pub fn start(boards: u8, text: &str, order: &[Node]) -> Self {
        let site = Self::new(boards, text);
        for node in order {
            site.power_on(*node);
        }
        for node in order {
            site.wait_ready(*node);
        }
        site
    }

    /// Powers on the router and these boards, each board with a disk, and waits until all are
    /// ready.
    pub fn start_with_disks<const COUNT: usize>(
        &self,
        boards: [u8; COUNT],
    ) -> [(Node, DiskFile); COUNT] {
        let disks = boards.map(|it| (Node::Board(it), DiskFile::flashed(&shipped(), USED)));
        self.power_on(Node::Router);
        for (board, disk) in &disks {
            self.power_on_with(*board, disk);
        }
        self.wait_ready(Node::Router);
        for (board, _) in &disks {
            self.wait_ready(*board);
        }
        disks
    }

    /// Powers on a node without a disk.
    pub fn power_on(&self, node: Node) -> Arc<Machine> {
        self.cluster.power_on(node, self.machine_of(node)).unwrap()
    }

    /// Powers on a node with its data on `disk`.
    pub fn power_on_with(&self, node: Node, disk: &DiskFile) -> Arc<Machine> {
        self.cluster.power_on(node, self.machine_of(node).disk(disk.disk())).unwrap()
    }

    /// The machine of a node, before it is powered on.
    pub fn machine_of(&self, node: Node) -> Builder {
        let machine = self.image.machine().kernel_argument(CLOCK);
        match node {
            // With one processor, the kernel of a flooded router would have no CPU time left.
            Node::Router => machine.memory(ROUTER).cpus(2).kernel_argument("octet.board=router"),
            // One processor is cheaper to emulate, and many boards share the host's processors.
            Node::Board(_) => machine.memory(BOARD).cpus(1),
        }
    }

    /// The row of board `number`, from the coordinator.
    pub fn row(&self, number: u8) -> Value {
        row(&self.ask(Node::Router, "cluster", "show", json!({})), number)
    }

    /// Waits until each of these nodes is the board of this number, and all have the router's map.
    /// Returns the node keys, by number.
    pub fn wait_whole(&self, boards: &[(Node, u8)]) -> BTreeMap<u8, Value> {
        self.wait("all are enrolled and have one map", || {
            let shown = self.ask(Node::Router, "cluster", "show", json!({}));
            let sequence = shown["sequence"].clone();
            let has_it = |(_, number): &(Node, u8)| {
                let row = row(&shown, *number);
                row["state"] == "enrolled" && row["connected"] == true && row["has_map"] == sequence
            };
            // The boards are queried only after the coordinator shows them as complete.
            boards.iter().all(has_it)
                && boards.iter().all(|(node, number)| {
                    self.is_in(*node, &sequence) && self.number(*node) == Some(u16::from(*number))
                })
        });
        boards.iter().map(|(_, number)| (*number, self.row(*number)["node"].clone())).collect()
    }

    /// Whether a board itself reports that it is enrolled, with the map of this number.
    fn is_in(&self, board: Node, sequence: &Value) -> bool {
        let shown = self.ask(board, "cluster", "show", json!({}));
        shown["state"] == "enrolled" && shown["sequence"] == *sequence
    }

    /// The reason of the last refusal at `number`.
    pub fn refusal(&self, number: u8) -> Option<String> {
        let shown = self.ask(Node::Router, "cluster", "show", json!({}));
        let mut others = shown["others"].as_array().into_iter().flatten();
        let is_it = |row: &&Value| row["board"] == number && row["is"] == "refused";
        others.find(is_it).map(|row| row["why"].to_string())
    }

    /// The machine of a running node.
    pub fn machine(&self, node: Node) -> Arc<Machine> {
        self.cluster.node(node).unwrap()
    }

    /// Waits until a node is ready, and knows its number if it is connected.
    pub fn wait_ready(&self, node: Node) -> Status {
        let machine = self.machine(node);
        let settled = |status: &Status| match status.state {
            State::Ready => status.board.is_some(),
            state => state == State::Degraded,
        };
        let status = machine.wait_status("ready, with a number", WHOLE, settled);
        let status = status.unwrap_or_else(|error| panic!("{node}: {error}"));
        assert_eq!(status.state, State::Ready, "{node}: {status:?}\n{}", machine.tail(40));
        status
    }

    /// The number of `node`.
    pub fn number(&self, node: Node) -> Option<u16> {
        self.machine(node).status().unwrap().board
    }

    /// The answer of a unit on a node.
    pub fn ask(&self, node: Node, unit: &str, verb: &str, args: Value) -> Value {
        let answer = self.machine(node).call_unit(unit, verb, args);
        answer.unwrap_or_else(|error| panic!("{node} {unit} {verb}: {error}"))
    }

    /// The addresses of a node's card: none until netd has configured it.
    pub fn addresses(&self, node: Node, link: &str) -> Vec<String> {
        let shown = self.ask(node, "netd", "show", json!({ "links": true }));
        let mut links = shown["links"].as_array().unwrap().iter();
        let found = links.find(|it| it["name"] == link);
        let all = found.and_then(|found| found["addresses"].as_array()).into_iter().flatten();
        all.map(|address| address.as_str().unwrap().to_owned()).collect()
    }

    /// Polls until `wanted` is true, with pauses: polling takes CPU time from the node that is
    /// waited for.
    pub fn wait(&self, what: &str, mut wanted: impl FnMut() -> bool) {
        let began = Instant::now();
        while !wanted() {
            assert!(began.elapsed() < SOON, "late: {what}\n{}", self.told());
            std::thread::sleep(Duration::from_millis(300));
        }
        println!("{what}: after {:.1?}", began.elapsed());
    }

    /// The state of all running nodes, for the message of a failed test.
    fn told(&self) -> String {
        let of = |(node, machine): (Node, Arc<Machine>)| {
            let shown = machine.call_unit("cluster", "show", json!({})).unwrap_or_default();
            let lines = machine.logs("cluster").unwrap_or_default();
            let last = lines.len().saturating_sub(10);
            // Whether it has its address, and which nodes the router admits.
            let lan = machine.call_unit("lan", "show", json!({})).unwrap_or_default();
            let netd = machine.call_unit("netd", "show", json!({})).unwrap_or_default();
            let (ports, drops) = (&netd["box"], &netd["drops"]);
            let links = format!("{} {} {ports} {drops}", lan["uplink"], lan["boards"]);
            format!("{node}: {shown}\n  {links}\n  {}\n", lines[last..].join("\n  "))
        };
        self.cluster.nodes().into_iter().map(of).collect()
    }
}

/// The row of board `number` in the coordinator's answer.
fn row(shown: &Value, number: u8) -> Value {
    // There are no rows until the coordinator's key is certified.
    let mut rows = shown["boards"].as_array().into_iter().flatten();
    rows.find(|row| row["board"] == number).cloned().unwrap_or_default()
}

/// The address of board `number`.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, number, 2)
}
