//! Routers with OpenWrt as their makers and their owners configure them, and the resulting changes.
//! Goldens are renewed by `OCTET_WRITE_GOLDEN=1 cargo test -p octet-router --test openwrt`, and
//! must then be reviewed.

#![cfg(test)]

mod bypass;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use octet_appliance::{Appliance, Unit, UnitSource};
use octet_evaluator as evaluator;
use octet_router::openwrt::change::UciChange;
use octet_router::openwrt::router::OpenwrtRouter;
use octet_router::openwrt::sections::sections;
use octet_router::openwrt::uci::{UciSection, Value};
use octet_router::plan::RouterPlan;
use proptest::prelude::*;

const LINES: &str = include_str!("../../../tests/testdata/lines.toml");
const UNITS: [&str; 3] = [
    include_str!("../../../../tests/evaluator/testdata/cache.toml"),
    include_str!("../../../../tests/evaluator/testdata/gate.toml"),
    include_str!("../../../../tests/evaluator/testdata/web.toml"),
];

/// A router's factory configuration: all ports of the switch belong to the lan.
const STOCK: &str = include_str!("../testdata/openwrt/stock.txt");

fn units() -> Vec<Unit> {
    let unit = |text: &&str| {
        let table: toml::Table = text.parse().unwrap();
        let ports = toml::to_string(&table["ports"]).unwrap();
        let ports: String = ports.lines().map(|line| format!("ports.{line}\n")).collect();
        let name = &table["name"];
        let text = format!(
            "name = {name}\nexec = \"/a\"\nuser = \"extra-1\"\n{ports}sandbox.network = \"host\"\n"
        );
        UnitSource::parse("unit.toml".into(), text).unwrap().unit
    };
    UNITS.iter().map(unit).collect()
}

/// The plan of the box in `text`, whose router runs OpenWrt with the ports `lan1` and so on, and
/// `wan`.
fn plan(text: &str, boards: u8) -> RouterPlan {
    let ports: Vec<_> = (1..=boards).map(|number| format!("\"lan{number}\"")).collect();
    let own = format!(
        "boards = {boards}\nrouter = \"openwrt\"\nuplink = \"wan\"\nports = [{}]",
        ports.join(", ")
    );
    let text = text.replace("boards = @boards", &own);
    let text = text.replace("\"gateway\"", "\"web.http\"");
    let text = text.replace("[lan]", &format!("[lan]\nport = \"lan{}\"", boards + 1));
    let appliance = Appliance::parse("a.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let settings = appliance.cluster_settings().unwrap();
    RouterPlan::new(&settings, &units()).unwrap()
}

/// Such a box with every kind of policy.
fn rich(boards: u8) -> RouterPlan {
    plan(
        &LINES.replace(
            "role = \"cache\"",
            "role = \"cache\"\n[[board]]\nnumber = 3\nrole = \"manager\"",
        ),
        boards,
    )
}

/// `text` with one port more than a box with `boards` needs.
fn with_ports(text: &str, boards: u8) -> String {
    let list: String = (1..=boards + 2).map(|n| format!("\tlist ports 'lan{n}'\n")).collect();
    text.replace("\tlist ports @all\n", &list)
}

/// A router that its owner has set up for a box: without conflicts.
fn ready(boards: u8) -> String {
    with_ports(STOCK, boards).replace("option device 'br-lan'", "option device 'br-lan.1'")
}

fn change(text: &str, plan: &RouterPlan) -> UciChange {
    let router = OpenwrtRouter::read(text, plan).unwrap_or_else(|error| panic!("{error}"));
    UciChange::of(plan, &router)
}

fn is_as_looked_at(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/openwrt").join(name);
    if std::env::var_os("OCTET_WRITE_GOLDEN").is_some() {
        fs::write(&file, text).unwrap();
    }
    assert!(fs::read_to_string(&file).unwrap_or_default() == text, "{name} is not what it was");
}

/// A router's configuration after `commands`, applied with no more knowledge than `uci batch` has.
fn batch(text: &str, commands: &[String]) -> String {
    let json = text.find("\n{").map_or(text.len(), |at| at + 1);
    let mut files: BTreeMap<String, Vec<UciSection>> = BTreeMap::new();
    for section in octet_router::openwrt::uci::parse(&text[..json]).unwrap() {
        files.entry(section.config.clone()).or_default().push(section);
    }
    for command in commands {
        let (verb, rest) = command.split_once(' ').unwrap();
        if verb == "commit" {
            continue;
        }
        let (path, value) = rest.split_once('=').unwrap_or((rest, ""));
        let value = value.trim_matches('\'').to_owned();
        let path: Vec<_> = path.split('.').collect();
        let file = files.entry(path[0].into()).or_default();
        let at = file.iter().position(|it| it.name.as_deref() == Some(path[1]));
        match (verb, &path[..]) {
            ("delete", [_, _]) => drop(file.remove(at.unwrap())),
            ("set", [config, name]) => file.push(UciSection::new(config, &value, name)),
            ("set", [_, _, key]) => {
                file[at.unwrap()].options.push(((*key).into(), Value::One(value)));
            }
            ("add_list", [_, _, key]) => {
                let options = &mut file[at.unwrap()].options;
                match options.iter_mut().find(|(name, _)| name == key) {
                    Some((_, Value::List(list))) => list.push(value),
                    _ => options.push(((*key).into(), Value::List(vec![value]))),
                }
            }
            _ => panic!("{command}"),
        }
    }
    let mut out = String::new();
    for (config, sections) in files {
        out += &format!("package {config}\n\n");
        sections.iter().for_each(|section| out += &section.to_string());
    }
    out + &text[json..]
}

/// The owner's sections, as they are written.
fn owners(text: &str) -> BTreeSet<String> {
    let json = text.find("\n{").map_or(text.len(), |at| at + 1);
    let sections = octet_router::openwrt::uci::parse(&text[..json]).unwrap();
    let owners =
        sections.iter().filter(|it| !it.name.as_deref().unwrap_or("").starts_with("octet_"));
    owners.map(|it| format!("{}: {it}", it.config)).collect()
}

#[test]
fn routers_of_every_size() {
    for boards in [4, 8, 16, 32] {
        let plan = rich(boards);
        let before = ready(boards);
        let change = change(&before, &plan);
        assert_eq!(change.conflicts, [""; 0]);
        is_as_looked_at(&format!("{boards}.batch"), &(change.commands.join("\n") + "\n"));
        // The owner's sections are unchanged, and a second change is empty.
        let after = batch(&before, &change.commands);
        assert_eq!(owners(&before), owners(&after));
        let again = self::change(&after, &plan);
        assert_eq!((again.lines, again.commands), (vec![], vec![]));
    }
}

/// UCI rewrites a file and drops comments: that is reported until the file has sections of ours.
#[test]
fn comments_are_said_to_go() {
    let plan = rich(8);
    let said = |text: &str, plan: &RouterPlan| {
        let router = OpenwrtRouter::read(text, plan).unwrap();
        let report = UciChange::of(plan, &router).report(&router);
        report.into_iter().skip_while(|it| !it.contains("Comments")).collect::<Vec<_>>()
    };
    let before = said(&ready(8), &plan);
    let files = "/etc/config/dhcp, /etc/config/firewall, /etc/config/network";
    assert!(before.len() == 2 && before[1].contains(files), "{before:?}");
    let after = batch(&ready(8), &change(&ready(8), &plan).commands);
    assert_eq!(said(&after, &plan), [""; 0]);
    let other = self::plan(
        "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n\
        [cluster]\nboards = @boards\n[lan]\n[[board]]\nnumber = 2\nrole = \"manager\"\n",
        8,
    );
    assert!(!change(&after, &other).lines.is_empty());
    assert_eq!(said(&after, &other), [""; 0]);
}

/// The router writes one file after the other: sections that only some of them have are reported
/// until all have them.
#[test]
fn half_of_a_change_is_told() {
    let plan = rich(8);
    let before = ready(8);
    let commands = change(&before, &plan).commands;
    let part = |files: &[&str]| {
        let is_of = |it: &&String| files.iter().any(|file| it.contains(&format!(" {file}.")));
        let commands: Vec<_> = commands.iter().filter(is_of).cloned().collect();
        batch(&before, &commands)
    };
    let half = |text: &str| change(text, &plan).half;
    assert_eq!(
        [half(&before), half(&part(&["dhcp", "firewall", "network"]))],
        [vec![""; 0], vec![]]
    );
    for (files, wanted) in [
        (&["dhcp"][..], "`dhcp` has octet_board_1, octet_board_2"),
        (&["dhcp", "firewall"], "`dhcp` and `firewall` have octet_board_1, octet_board_2"),
        (&["network"], "`network` has octet_board_1, octet_board_2"),
    ] {
        let found = half(&part(files));
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{found:?}");
    }
}

/// Removed sections are deleted, changed ones are made anew, and nothing else is touched.
#[test]
fn only_what_is_other_is_changed() {
    let before = batch(&ready(8), &change(&ready(8), &rich(8)).commands);
    let other = LINES
        .replace("rate = 100", "rate = 50")
        .replace("ports = [80, \"8000-8010\"]", "ports = [80]");
    let other = other
        .replace("role = \"cache\"", "role = \"cache\"\n[[board]]\nnumber = 3\nrole = \"manager\"");
    let other = plan(&other, 8);
    let change = change(&before, &other);
    println!("{:#?}", change.lines);
    assert!(change.lines.iter().all(|line| line.starts_with("- ") || line.starts_with("~ ")));
    let gone: Vec<_> = change.lines.iter().filter(|line| line.starts_with("- ")).collect();
    assert_eq!(
        gone,
        [
            "- firewall rule 'octet_board_3_uplink_tcp_8000'",
            "- firewall rule 'octet_lan_uplink_tcp_8000'"
        ]
    );
    let rates = change.lines.iter().filter(|line| line.contains("limit 50/second"));
    assert_eq!(rates.count() + gone.len(), change.lines.len());
    assert!(change.commands.iter().all(|it| !it.contains("network")), "{:#?}", change.commands);
    let after = batch(&before, &change.commands);
    assert_eq!(self::change(&after, &other).lines, [""; 0]);
}

/// Each conflict is reported before anything is touched; the same router without it has none.
#[test]
fn what_is_in_the_way_is_named() {
    let plan = rich(8);
    let stock = with_ports(STOCK, 8);
    let zone = "config zone\n\toption name";
    for (from, to, wanted) in [
        ("br-lan.1'", "br-lan'", "network interface 'lan' is on the whole switch"),
        (
            "config interface 'wan'",
            "config bridge-vlan 'mine'\n\toption device 'br-lan'\n\toption vlan '7'\n\tlist ports 'lan3:t'\n\nconfig interface 'wan'",
            "network bridge-vlan 'mine' has port lan3, where board-3 is to be alone",
        ),
        (
            "config interface 'wan'",
            "config bridge-vlan\n\toption device 'br-lan'\n\toption vlan '1004'\n\tlist ports 'lan10'\n\nconfig interface 'wan'",
            "has number 1004, which is that of board-4",
        ),
        ("192.168.1.1/24", "10.20.77.1/24", "has 10.20.77.1/24, an address of the box"),
        (zone, "config zone\n\toption name 'o_board2'\n\nconfig zone\n\toption name", "rename it"),
        ("list network 'lan'", "list network 'lan'\n\tlist network 'octet_lan'", "take it out"),
        ("option forward 'REJECT'", "option forward 'acc'", "lets pass whatever no rule is about"),
        ("option input 'REJECT'", "option input 'Accept'", "takes in whatever is in no zone"),
    ] {
        assert_eq!(change(&ready(8), &plan).conflicts, [""; 0]);
        let text = ready(8).replacen(from, to, 1);
        assert_ne!(text, ready(8), "{from}");
        let change = change(&text, &plan);
        assert!(change.conflicts.iter().any(|line| line.contains(wanted)), "{wanted}: {change:#?}");
        assert_eq!(change.commands, [""; 0]);
    }
    // Rules of the owner's and of the maker's that affect our zones.
    let lets = change(&ready(8), &plan).owner_rules;
    assert_eq!(lets.len(), 1, "{lets:#?}");
    assert!(lets[0].contains("Allow-ICMPv6-Forward"), "{lets:#?}");
    assert!(!change(&stock, &plan).conflicts.is_empty());
    // A time server that is off, one that is on, and a file that was not read.
    let with = |system: &str| {
        let (files, board) =
            ready(8).split_once("\n{").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        change(&format!("{files}\n{system}\n{{{board}"), &plan).needs
    };
    let server = |is_on: u8| {
        format!("package system\n\nconfig timeserver 'ntp'\n\toption enable_server '{is_on}'\n")
    };
    let off = with(&server(0));
    assert!(off.len() == 1 && off[0].contains("system.ntp.enable_server=1"), "{off:?}");
    assert_eq!([with(&server(1)), with("")], [vec![""; 0], vec![]]);
}

/// Another name of the bridge, ports as one text, and unsupported configurations.
#[test]
fn routers_are_written_in_several_ways() {
    let plan = rich(8);
    let ports: Vec<_> = (1..=10).map(|number| format!("lan{number}")).collect();
    let other = STOCK
        .replace("\tlist ports @all\n", &format!("\toption ports '{}'\n", ports.join(" ")))
        .replace("option device 'br-lan'", "option device 'switch.1'")
        .replace("br-lan", "switch");
    let [plain, other] = [ready(8), other].map(|text| change(&text, &plan).commands);
    assert!(plain.iter().any(|it| it.contains("='br-lan.1001'")));
    let renamed: Vec<_> = plain.iter().map(|line| line.replace("br-lan", "switch")).collect();
    assert_eq!(other, renamed);

    let refused = |text: &str| {
        let error = OpenwrtRouter::read(text, &plan).unwrap_err();
        format!("{error}; {}", error.help())
    };
    let old = ready(8).replace(
        "config globals 'globals'",
        "config switch\n\toption name 'switch0'\n\nconfig globals 'globals'",
    );
    assert!(refused(&old).contains("Peer DSA 8+1 has a switch that is set up by `swconfig`"));
    let few = with_ports(STOCK, 4);
    assert!(
        refused(&few).contains("no bridge with the ports lan2, lan1, lan3"),
        "{}",
        refused(&few)
    );
    // The zone of the uplink may name its device.
    let by_device =
        ready(8).replace("\tlist network 'wan'\n\tlist network 'wan6'", "\tlist device 'wan'");
    assert_ne!(by_device, ready(8));
    assert_eq!(change(&by_device, &plan).commands, plain);
    // If it is included by a device that the plan does not look for, only its network identifies
    // it.
    for device in ["wan+", "pppoe-wan"] {
        let zone = ready(8).replace(
            "\tlist network 'wan'\n\tlist network 'wan6'",
            &format!("\tlist device '{device}'"),
        );
        let said = refused(&zone);
        let wanted = format!(
            "firewall zone '@zone[1]' (name 'wan') has `{device}` by `list device`, and the plan finds the zone of `wan`"
        );
        assert!(said.starts_with(&wanted), "{said}");
        assert!(said.contains("`list network 'wan'`") && said.contains("uci add_list"), "{said}");
        let both = zone.replace(
            &format!("\tlist device '{device}'"),
            &format!("\tlist device '{device}'\n\tlist network 'wan'"),
        );
        assert_eq!(change(&both, &plan).commands, plain);
    }
    let other = ready(8)
        .replace("\tlist network 'wan'\n\tlist network 'wan6'", "\tlist device 'pppoe-other'");
    assert!(refused(&other).starts_with("no zone of the firewall"), "{}", refused(&other));
    let no_wan = ready(8).replace("option device 'wan'", "option device 'wan2'");
    assert!(refused(&no_wan).contains("`wan`"), "{}", refused(&no_wan));
    assert!(refused("config a\n").contains("line 1"));
    assert!(refused(&ready(8).replace("{", "[")).contains("cannot be read"));
}

/// The flows that a router allows, derived from its configuration alone: zones, and rules that
/// accept.
struct Reader {
    zones: BTreeMap<evaluator::Zone, String>,
    /// Between two zones, neither of which is the router itself.
    rules: BTreeMap<(Option<String>, Option<String>), Vec<Accepts>>,
    /// Traffic to a port of the router's, and the board that receives it.
    published: Vec<(Accepts, u8)>,
}

struct Accepts {
    protocol: String,
    family: Option<String>,
    ports: Option<(u16, u16)>,
}

impl Accepts {
    fn of(section: &UciSection, port: &str) -> Self {
        let said = |option: &str| section.one(option).map(str::to_owned);
        let number = |text: &str| text.parse().unwrap();
        let ports = said(port).map(|ports| match ports.split_once('-') {
            Some((first, last)) => (number(first), number(last)),
            None => (number(&ports), number(&ports)),
        });
        Self { protocol: said("proto").unwrap(), family: said("family"), ports }
    }

    fn has(&self, (_, _, traffic, version): &evaluator::Probe) -> bool {
        let (protocol, port) = match traffic {
            evaluator::Traffic::Tcp(port) => ("tcp".to_owned(), *port),
            evaluator::Traffic::Udp(port) => ("udp".to_owned(), *port),
            evaluator::Traffic::Ping => ("icmp".to_owned(), 0),
            evaluator::Traffic::Protocol(number) => (number.to_string(), 0),
        };
        let other = if *version == evaluator::Version::V4 { "ipv6" } else { "ipv4" };
        self.protocol == protocol
            && self.family.as_deref() != Some(other)
            && self.ports.is_none_or(|(first, last)| (first..=last).contains(&port))
    }
}

impl Reader {
    fn new(sections: &[UciSection], boards: u8) -> Self {
        let of = |kind: &'static str| sections.iter().filter(move |it| it.kind == kind);
        let zone = |network: &str| {
            let zone = of("zone").find(|it| it.all("network").any(|name| name == network)).unwrap();
            for way in ["input", "output", "forward"] {
                assert_eq!(zone.one(way), Some("DROP"), "{zone}");
            }
            zone.one("name").unwrap().to_owned()
        };
        let boards = (1..=boards)
            .map(|number| (evaluator::Zone::Board(number), format!("octet_board_{number}")));
        let lan = (evaluator::Zone::Lan, "octet_lan".to_owned());
        let mut zones: BTreeMap<_, _> =
            boards.chain([lan]).map(|(it, network)| (it, zone(&network))).collect();
        zones.insert(evaluator::Zone::Uplink, "wan".into());
        let mut rules: BTreeMap<_, Vec<_>> = BTreeMap::new();
        // ICMP errors and neighbour discovery are not flows.
        let is_flow = |it: &&UciSection| {
            it.one("proto") != Some("icmp")
                || it.all("icmp_type").any(|kind| kind == "echo-request")
        };
        // The answer of a DHCP server is not a flow either.
        let is_flow = |it: &&UciSection| {
            is_flow(it) && it.options.iter().all(|(_, value)| *value != Value::One("68 546".into()))
        };
        for it in of("rule").filter(is_flow) {
            assert_eq!(it.one("target"), Some("ACCEPT"));
            let said = |option: &str| it.one(option).map(str::to_owned);
            rules
                .entry((said("src"), said("dest")))
                .or_default()
                .push(Accepts::of(it, "dest_port"));
        }
        let published = of("redirect").map(|it| {
            let board = it.one("dest").unwrap().strip_prefix("o_board").unwrap();
            assert_eq!((it.one("src"), it.one("target")), (Some("wan"), Some("DNAT")));
            (Accepts::of(it, "src_dport"), board.parse().unwrap())
        });
        Self { zones, rules, published: published.collect() }
    }

    fn lets(&self, probe: &evaluator::Probe) -> Option<evaluator::Zone> {
        let (from, to) = (probe.0, probe.1);
        if (from, to) == (evaluator::Zone::Uplink, evaluator::Zone::Router)
            && let Some((_, board)) = self.published.iter().find(|(accepts, _)| accepts.has(probe))
        {
            return Some(evaluator::Zone::Board(*board));
        }
        let between = [from, to].map(|zone| self.zones.get(&zone).cloned());
        let rules = self.rules.get(&(between[0].clone(), between[1].clone()));
        rules.into_iter().flatten().any(|rule| rule.has(probe)).then_some(to)
    }
}

fn policy((from, to, what, first, more): (u8, u8, u8, u16, u16)) -> String {
    let zones =
        ["board-1", "board-2", "board-4", "boards", "role:front", "lan", "uplink", "router"];
    let (from, to) = (zones[usize::from(from) % 8], zones[usize::from(to) % 8]);
    let (from, to) = if from == to { ("lan", "boards") } else { (from, to) };
    let what = match what % 5 {
        0 => "protocol = \"icmp\"\n".to_owned(),
        1 => format!("protocol = {}\n", 47 + first % 3),
        2 => "service = \"web.http\"\n".to_owned(),
        3 => format!("protocol = \"udp\"\nports = [\"{first}-{}\"]\n", first + more),
        _ => format!("protocol = \"tcp\"\nports = [\"{first}-{}\", 4040]\n", first + more),
    };
    format!("[[policy]]\nfrom = \"{from}\"\nto = [\"{to}\"]\n{what}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// An independent reader of the file allows the same flows; and the commands lead there from
    /// any earlier configuration.
    #[test]
    fn boxes_by_chance(
        boards in prop::sample::select(vec![4u8, 8]),
        lines in prop::collection::vec((0..8u8, 0..8u8, 0..5u8, 50..70u16, 0..9u16), 0..7),
        earlier in prop::collection::vec((0..8u8, 0..8u8, 0..5u8, 50..70u16, 0..9u16), 0..3),
        // The same for all policies: those that allow the same must not differ in their rate.
        rates in prop::array::uniform2(prop::option::of(1..200u32)),
    ) {
        let head = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n\
            [cluster]\nboards = @boards\n[lan]\n[[board]]\nnumber = 1\nrole = \"front\"\n[[board]]\nnumber = 2\nrole = \"manager\"\n\
            [[board]]\nnumber = 3\nrole = \"front\"\n[[publish]]\nport = \"tcp/443\"\nto = \"board-1\"\nat = \"tcp/8443\"\n";
        let text = |lines: Vec<_>, rate: Option<u32>| {
            let rate = rate.map_or_else(String::new, |rate| format!("rate = {rate}\n"));
            lines.into_iter().fold(head.to_owned(), |text, line| text + &policy(line) + &rate)
        };
        let (text, earlier) = (text(lines, rates[0]), text(earlier, rates[1]));
        let read = text.replace("boards = @boards", &format!("boards = {boards}\nrouter = \"openwrt\""));
        let world = evaluator::World::read(&read, &UNITS).unwrap();
        let mut expected = world.table_between(&world.zones(), &world.worth_a_probe());
        // DHCP clients are answered whatever the plan says.
        expected.retain(|probe, _| !matches!(probe.2, evaluator::Traffic::Udp(68 | 546)));
        let wanted = plan(&text, boards);
        let router = OpenwrtRouter::read(&ready(boards), &wanted).unwrap();
        let told = sections(&wanted, &router);
        // Traffic above a policy's rate does not match, and is dropped by its zone.
        for rule in told.iter().filter(|it| it.kind == "rule") {
            let rate = rates[0].filter(|_| rule.one("name").unwrap() == "policy");
            let limit = rate.map(|rate| (format!("{rate}/second"), rate.to_string()));
            let said = rule.one("limit").zip(rule.one("limit_burst"));
            prop_assert_eq!(said, limit.as_ref().map(|(limit, burst)| (&limit[..], &burst[..])), "{}", rule);
        }
        let reader = Reader::new(&told, boards);
        let found = expected.keys().map(|probe| (*probe, reader.lets(probe))).collect();
        let differences = evaluator::compare(&expected, &found);
        prop_assert!(differences.is_empty(), "{}\n{:#?}", text, differences);

        let before = ready(boards);
        let before = batch(&before, &change(&before, &plan(&earlier, boards)).commands);
        let after = batch(&before, &change(&before, &wanted).commands);
        let ours = OpenwrtRouter::read(&after, &wanted).unwrap();
        let sorted = |mut it: UciSection| { it.options.sort_by(|(a, _), (b, _)| a.cmp(b)); it.to_string() };
        let ours: BTreeSet<_> = ours.ours().cloned().map(sorted).collect();
        let all: BTreeSet<_> = sections(&wanted, &router).into_iter().map(sorted).collect();
        prop_assert_eq!(ours, all);
    }
}
