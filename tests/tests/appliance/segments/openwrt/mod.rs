//! A router with OpenWrt, tested with packets: the plan of a box is applied to a guest that does
//! not run Octet, by the owner's own command, and the test simulates the hosts at its ports. Then
//! boards are connected, which form a box behind it.
//!
//! With `cargo image test --openwrt ROOTFS.tar.gz` the guest is that root file system. Without, it
//! is the double of `tests/openwrt`, which applies the configuration to the guest's kernel with
//! code of its own.

mod boards;
mod router;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::Instant;

use octet_evaluator::{Traffic, World, Zone};
use octet_machine::panel::raw::ethernet;
use octet_machine::panel::switchboard::{
    Leg, Probe, ProbeOutcome, Sentinel, Switchboard, Traffic as Sent,
};
use octet_machine::panel::{Host, Mac, Port};
use octet_tests::{Output, Owner, RETRY_DELAY, SOON, run, workspace};

use self::boards::Boards;
use self::router::Router;
use crate::segments::site::{probe, world};
use crate::segments::sweep::{expected, is_right, pairs};

/// The address of the owner, at the last port, and the router's address there.
const OWNER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

/// A device of the owner's in the network of the box for such devices, and the router's address
/// there.
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 3);
const LAN: Ipv4Addr = Ipv4Addr::new(10, 20, 250, 1);

/// The owner's own configuration before the box: his port is in a VLAN of its own, the uplink has
/// fixed addresses, and a service of his is open.
const OWNERS: &str = "set -e
uci set network.lan.device=br-lan.1
uci set network.mine=bridge-vlan
uci set network.mine.device=br-lan
uci set network.mine.vlan=1
uci add_list network.mine.ports=lan8:u*
uci set network.wan.proto=static
uci add_list network.wan.ipaddr=192.0.2.7/24
uci set network.wan.gateway=192.0.2.1
uci add_list network.wan.ip6addr=2001:db8::7/64
uci set network.wan.ip6gw=2001:db8::1
uci set firewall.mine=rule
uci set firewall.mine.name='what is mine'
uci set firewall.mine.src=wan
uci set firewall.mine.proto=tcp
uci set firewall.mine.dest_port=2222
uci set firewall.mine.target=ACCEPT
uci commit
";

const HEAD: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = [\"gate\"]\n\
    [cluster]\nboards = 4\nrouter = \"openwrt\"\nuplink = \"wan\"\nports = [\"lan1\", \"lan2\", \"lan3\", \"lan4\"]\n";

/// The policies of boards, the owner's devices and the uplink.
const LINES: &str = r#"
[[policy]]
from = "boards"
to = "board-2"
protocol = "tcp"
ports = [8080]

[[policy]]
from = ["board-3", "lan"]
to = "uplink"
protocol = "tcp"
ports = [80, "8000-8010"]

[[policy]]
from = "lan"
to = "boards"
protocol = "icmp"

[[policy]]
from = "board-3"
to = ["board-4", "lan"]
protocol = "udp"
ports = ["6000-6005"]

[[policy]]
from = "uplink"
to = "board-1"
protocol = "udp"
ports = [4433]

[[publish]]
port = "tcp/443"
to = "board-2"
at = "tcp/8443"
"#;

/// The port that is published to board 2.
const PUBLISHED: Traffic = Traffic::Tcp(443);

/// The policy by which the owner's devices reach the router's web server.
const LETS_IN: &str =
    "[[policy]]\nfrom = \"lan\"\nto = \"router\"\nprotocol = \"tcp\"\nports = [443]\n";

/// A mark by which a frame is recognised.
const MARK: &[u8] = b"octet attack";

/// The settings of the box with the owner's devices at this port.
fn text(lan: &str, lines: &str) -> String {
    let mut text = format!("{HEAD}[lan]\nport = \"{lan}\"\n");
    for number in 1..=4 {
        let role = if number == 1 { "role = \"manager\"\n" } else { "" };
        text += &format!("[[board]]\nnumber = {number}\nmac = \"{}\"\n{role}", Mac::number(number));
    }
    text + lines
}

/// The owner at his computer, with the settings of his box and the password of the router.
struct Desk<'a> {
    router: &'a Router,
    owner: Owner,
    fingerprint: String,
}

impl Desk<'_> {
    fn openwrt(&self, verb: &str, web: SocketAddr) -> Command {
        let mut command = self.owner.openwrt(&[verb]);
        self.told_of(&mut command, web);
        command
    }

    /// Adds the arguments of `octetctl` that select the router.
    fn told_of(&self, command: &mut Command, web: SocketAddr) {
        command.arg("--octet").arg(workspace()).args(["--address", &web.to_string()]);
        command.args(["--fingerprint", &self.fingerprint, "--password-file", "password"]);
    }

    /// Verifies the router with packets of the box.
    fn proves(&self, of_box: &str, web: SocketAddr) -> Output {
        let words = ["--box", of_box, "openwrt", "verify"];
        let mut command = self.owner.command(boards::KEY, &words);
        self.told_of(&mut command, web);
        run(&mut command)
    }

    /// Runs `octetctl openwrt VERB`, which must succeed. Returns its output.
    fn says(&self, verb: &str, web: SocketAddr) -> String {
        let began = Instant::now();
        let Output { status, stdout, stderr } = run(&mut self.openwrt(verb, web));
        assert_eq!(status, Some(0), "{verb}: {stdout}{stderr}\n{}", self.router.tail());
        println!("{verb}: {:.1} s", began.elapsed().as_secs_f32());
        stdout
    }

    /// Applies these settings to the router.
    fn brings(&self, text: &str, web: SocketAddr) {
        self.owner.write("appliance.toml", text);
        let said = self.says("apply", web);
        assert!(said.contains("Done, and confirmed"), "{said}");
        assert_eq!(self.says("apply", web), "Nothing is to be done\n");
        assert_eq!(self.says("verify", web), "The router is as the plan says\n");
    }
}

/// First contact: the output of `adopt` is pasted into the router's console.
fn adopt(router: &Router, owner: Owner, web: SocketAddr) -> Desk<'_> {
    let until = Instant::now() + SOON;
    let said = loop {
        let output = run(&mut owner.openwrt(&["adopt", &web.to_string()]));
        if output.status == Some(0) {
            break output.stdout;
        }
        assert!(Instant::now() < until, "late: {}\n{}", output.stderr, router.tail());
        thread::sleep(RETRY_DELAY);
    };
    assert!(!said.contains("Install there what it lacks"), "{said}");
    let fingerprint = said.split_whitespace().find(|it| it.starts_with("sha256:")).unwrap();
    let shown = router.paste("sha256sum /etc/uhttpd.crt");
    assert_eq!(shown.split_whitespace().next(), fingerprint.strip_prefix("sha256:"));
    let (_, commands) = said.split_once("by SSH as root:\n").unwrap();
    let pasted = router.paste(commands);
    let password =
        pasted.lines().find_map(|it| it.strip_prefix("the password of octet: ")).unwrap();
    owner.write("password", password);
    Desk { router, owner, fingerprint: fingerprint.to_owned() }
}

/// A frame with these VLAN tags to `to`, or to broadcast.
fn marked(from: u8, to: Option<Mac>, tags: &[u16]) -> Vec<u8> {
    let tags: Vec<_> = tags.iter().map(|number| (ethernet::VLAN, *number)).collect();
    let macs = (Mac::number(from), to.unwrap_or(ethernet::BROADCAST));
    // An unused EtherType, which only bridges handle.
    ethernet::tagged(macs, &tags, 0x88b5, &[MARK, &[0; 64]].concat())
}

/// Frames by which a board would reach another one directly, if the switch forwarded them.
fn past_the_router(router: Mac) -> Vec<Vec<u8>> {
    let mut frames = vec![];
    for to in [None, Some(Mac::number(2)), Some(router)] {
        // Untagged; with the tag of board 2, of the lan, of the owner, and with its own; and with a
        // second tag after its own.
        let tags = [&[][..], &[1002], &[1250], &[1], &[1001], &[1001, 1002]];
        frames.extend(tags.map(|tags| marked(1, to, tags)));
    }
    frames
}

/// Waits until a frame passes to the other port; it is repeated, because the switch may not be up
/// yet.
fn passes(from: &Port, to: &Port, frame: &[u8]) {
    let until = Instant::now() + SOON;
    while Instant::now() < until {
        from.send(frame).unwrap();
        let again = Instant::now() + RETRY_DELAY;
        while let Some(come) = to.receive(again) {
            if come.windows(MARK.len()).any(|it| it == MARK) {
                return;
            }
        }
    }
    panic!("late: nothing comes out of the switch");
}

/// The hosts at the ports of the box.
struct Around {
    panel: Switchboard,
    world: World,
}

impl Around {
    fn leg(&self, zone: Zone) -> usize {
        self.panel.leg(&zone.to_string()).unwrap()
    }

    /// Sentinels by neighbour discovery: the rules allow no other request to the router.
    fn sentinels(&self) -> Vec<Sentinel> {
        (0..self.panel.legs().len()).map(Sentinel::Neighbour).collect()
    }

    /// All ordered pairs of zones, except those to the router: the results must be those of the
    /// evaluator.
    fn pairs(&mut self) {
        let zones: Vec<_> =
            self.world.zones().into_iter().filter(|it| *it != Zone::Router).collect();
        let mut kinds = self.world.worth_a_probe();
        kinds.retain(|it| !matches!(it, Traffic::Protocol(_)));
        let mut asked = pairs(&zones, &kinds);
        // Allowed probes are last, because an answer to one of them would be allowed, too.
        asked.sort_by_key(|asked| expected(&self.world, *asked).is_some());
        let probes: Vec<_> = asked.iter().map(|asked| probe(&self.panel, *asked)).collect();
        let sentinels = self.sentinels();
        let came = self.panel.sweep(&probes, &sentinels).unwrap();
        let published = self.leg(Zone::Board(2));
        let mut wrong = vec![];
        let mut arrived = BTreeSet::new();
        for (asked, came) in asked.iter().zip(came) {
            // On OpenWrt a published port is forwarded at every address of the box.
            let is_published = asked.0 == Zone::Uplink && asked.2 == PUBLISHED;
            let is_right = match is_published {
                true => came == ProbeOutcome::Out(published),
                // It rejects denied packets with an ICMP error instead of dropping them.
                false => {
                    let refused =
                        came == ProbeOutcome::Answered && expected(&self.world, *asked).is_none();
                    refused || is_right(&self.panel, &self.world, *asked, &came)
                }
            };
            if !is_right {
                let (from, to, what, version) = *asked;
                wrong.push(format!("{came:?}: {}", self.world.explain(from, to, what, version)));
            }
            if expected(&self.world, *asked).is_some() {
                arrived.insert(*asked);
            }
        }
        println!("{} probes, {} arrive", asked.len(), arrived.len());
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), asked.len());
        assert!(arrived.len() > 30 && arrived.len() * 2 < asked.len());
    }

    /// A board with the address of another one has the rights of its own port.
    fn spoofed(&mut self) {
        let [own, third, lan, fourth] =
            [Zone::Board(1), Zone::Board(3), Zone::Lan, Zone::Board(4)].map(|it| self.leg(it));
        let end = |leg: usize| self.panel.legs()[leg].test;
        let (victim, to) = ([end(third), end(lan)], end(fourth));
        let probe = |from, to| Probe::new(from, to, Sent::Udp(6000));
        let mut probes = vec![probe(third, to.ipv4.into()), probe(third, to.ipv6.into())];
        for it in victim {
            probes.push(probe(own, to.ipv4.into()).from_address(it.ipv4.into()));
            probes.push(probe(own, to.ipv6.into()).from_address(it.ipv6.into()));
        }
        let sentinels = self.sentinels();
        let came = self.panel.sweep(&probes, &sentinels).unwrap();
        let (let_in, spoofed) = came.split_at(2);
        assert_eq!(let_in, [ProbeOutcome::Out(fourth), ProbeOutcome::Out(fourth)]);
        // The host with that address gets the rejections.
        let is_there = |came: &ProbeOutcome| match came {
            ProbeOutcome::Out(leg) => *leg == fourth,
            ProbeOutcome::Several { out, .. } => out.contains(&fourth),
            ProbeOutcome::Answered | ProbeOutcome::Dropped => false,
        };
        assert!(!spoofed.iter().any(is_there), "{spoofed:?}");
    }

    /// All packets between boards have to pass the router.
    fn past_the_router(&mut self) {
        let (leg, sentinels) = (self.leg(Zone::Board(1)), self.sentinels());
        let frames = past_the_router(self.panel.legs()[leg].router.mac);
        let seen = self.panel.exchange(leg, &frames, &sentinels).unwrap();
        let seen: Vec<_> = seen.iter().filter(|it| it.contains(MARK)).collect();
        assert!(seen.is_empty(), "{seen:?}");
    }
}

/// All sections that the owner has written, by file.
fn owners(router: &Router) -> [BTreeSet<String>; 3] {
    ["network", "firewall", "dhcp"].map(|config| router.owners(config))
}

/// The owner's own configuration is entered and applied. OpenWrt ships a rule that forwards pings
/// from outside: it belongs to the owner, and `diff` lists it.
fn set_up(router: &Router) {
    let rule = "'Allow-ICMPv6-Forward'";
    let text = router.paste_until("uci export firewall; true", |it| it.contains(rule));
    router.paste(OWNERS);
    let mut rules = text.split("\nconfig ").filter(|it| it.starts_with("rule"));
    let shipped = rules.position(|it| it.contains(rule)).unwrap();
    router.paste(&format!(
        "uci set firewall.@rule[{shipped}].enabled=0 && uci commit && /etc/init.d/network restart && \
         /etc/init.d/firewall restart"
    ));
}

/// An apply that locks out its author: a policy gives him access, and he removes it. `octetctl` is
/// killed then, as if it had run on a board that is cut off: the router undoes the change.
fn locked_out(desk: &Desk<'_>, web: SocketAddr) {
    let router = desk.router;
    let before = text("lan6", &[LINES, LETS_IN].concat());
    desk.brings(&before, web);
    let (device, device_web) = router.owner("lan6", DEVICE, LAN);
    assert_eq!(desk.says("verify", device_web), "The router is as the plan says\n");
    desk.owner.write("appliance.toml", &text("lan6", LINES));
    let mut apply = desk.openwrt("apply", device_web);
    let mut apply = apply.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It is in force: no rule for that port is left for the owner's devices.
    router.paste_until("nft list chain inet fw4 input_o_lan; true", |it| {
        it.contains("chain input_o_lan") && !it.contains("443")
    });
    let (sender, came) = channel();
    thread::spawn(move || {
        // An attempt may end before the router has undone the change.
        let until = Instant::now() + SOON;
        while Instant::now() < until {
            if device.connect((LAN, 443).into()).is_ok() {
                let _ = sender.send(());
                return;
            }
        }
    });
    apply.kill().unwrap();
    apply.wait().unwrap();
    // The router answers other clients meanwhile, and nothing is confirmed.
    desk.owner.write("appliance.toml", &before);
    let Output { status, stdout, stderr } = run(&mut desk.openwrt("diff", web));
    assert_ne!(status, Some(0), "{stdout}");
    assert!(stderr.contains("waits to be confirmed"), "{stdout}{stderr}");
    assert_eq!(came.try_recv(), Err(TryRecvError::Empty));
    if router.is_double {
        // The double's clock is advanced; for a real router the test waits.
        router.paste("pass 90");
    }
    came.recv_timeout(SOON).expect("late: the router has not undone it");
    assert_eq!(desk.says("verify", web), "The router is as the plan says\n");
    assert_eq!(desk.says("verify", device_web), "The router is as the plan says\n");
}

/// The plan of a box on a router in a guest. It takes a whole guest, because the plan is compared
/// with frames on wires.
/// In process: `netd/openwrt/tests/router`, and `services/octetctl/tests/openwrt.rs`.
#[test]
#[ignore = "long: `cargo image test --soak`, or `--openwrt`"]
fn a_guest_obeys_the_plan() {
    let router = Router::start();
    let owner = Owner::new();
    let settings = text("lan5", &[LINES, &boards::operator(&owner)].concat());
    let boards = Boards::start(&settings);
    let (_owner, web) = router.owner("lan8", OWNER, ROUTER);

    // The initial state: a switch that forwards everything between all ports, with any tag.
    let ports = ["lan1", "lan2", "lan3", "lan4", "lan5", "wan"].map(|card| router.port(card));
    for frame in past_the_router(router.macs().0).into_iter().take(6) {
        passes(&ports[0], &ports[1], &frame);
    }

    set_up(&router);
    let desk = adopt(&router, owner, web);
    let written = owners(&router);
    desk.owner.write("appliance.toml", &settings);
    let said = desk.says("diff", web);
    assert!(!said.contains("In the way") && said.contains("+ "), "{said}");
    desk.brings(&settings, web);
    assert_eq!(owners(&router), written);
    assert!(["network", "firewall", "dhcp"].iter().all(|it| router.ours(it) > 0));

    let (switch, out) = router.macs();
    let mut legs: Vec<_> = (1..=4).map(|number| Leg::board(number, switch)).collect();
    legs.extend([Leg::lan(Mac::number(201), switch), Leg::uplink(Mac::number(200), out)]);
    let panel = Switchboard::new(ports.into_iter().zip(legs).collect());
    let mut around = Around { panel, world: world(&settings) };
    around.pairs();
    around.spoofed();
    around.past_the_router();

    // The boards form a box while the owner is locked out and gets access again.
    boards.plug_into(&router);
    locked_out(&desk, web);
    assert_eq!(owners(&router), written);
    desk.brings(&settings, web);
    let keys = boards.wait_whole();
    let device = Host::start_behind(router.port("lan5"), Mac::number(201), (DEVICE, 24), LAN);
    let of_box = boards::answer(&desk.owner, &device, &keys);
    let began = Instant::now();
    boards::prove(&router, || desk.proves(&of_box, web));
    println!("proved twice: {:.1} s", began.elapsed().as_secs_f32());

    let said = desk.says("release", web);
    assert!(said.contains("Done, and confirmed"), "{said}");
    assert_eq!(owners(&router), written);
    assert!(["network", "firewall", "dhcp"].iter().all(|it| router.ours(it) == 0));
}
