//! The box: a router with a network card for each board, one for the owner's devices and one for
//! the uplink, all of which are connected to the test.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use octet_appliance::{Appliance, SETTINGS};
use octet_evaluator::{Probe as Asked, Version, World, Zone};
use octet_machine::panel::Mac;
use octet_machine::panel::switchboard::{Leg, Probe, ProbeOutcome, Sentinel, Switchboard, Traffic};
use octet_machine::{Builder, Disk, Machine, Status, UnitState};
use octet_tests::{Image, READY, Remake, fault_netd, guest_for, shipped, workspace};
use serde_json::json;

/// The sections that a build requires, and that are not used here.
const IMAGE: &str = "[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

/// The memory of the router, as of a real board, in MiB: the kernel derives the size of its flow
/// table from it.
const MEMORY: u32 = 2048;

/// The router, and the test at its ports.
pub struct Site {
    pub machine: Arc<Machine>,
    pub panel: Switchboard,
    pub world: World,
}

/// The MAC address of the router's card `number`; boards have the first numbers.
fn card(number: u8) -> Mac {
    Mac::number(100 + number)
}

/// A box of `boards` with these policies, and a `[lan]`; every board's MAC address is configured.
pub fn text(boards: u8, lines: &str) -> String {
    let mut text = format!(
        "[appliance]\nname = \"octet\"\n[network]\naddress = [\"192.0.2.7/24\", \"2001:db8::7/64\"]\n\
         gateway = [\"192.0.2.1\", \"2001:db8::1\"]\n[cluster]\nboards = {boards}\n[lan]\n"
    );
    for number in 1..=boards {
        text += &format!("[[board]]\nnumber = {number}\nmac = \"{}\"\n", Mac::number(number));
    }
    text + lines
}

/// The released unit files.
fn units() -> Vec<String> {
    let file = |name: &str| std::fs::read_to_string(workspace().join(name)).unwrap();
    vec![file("services/gate/unit.toml")]
}

/// `text` for the evaluator.
pub fn world(text: &str) -> World {
    let units = units();
    let units: Vec<&str> = units.iter().map(String::as_str).collect();
    World::read(text, &units).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `shipped` with the settings of `text`.
pub fn remake(shipped: &Image, text: &str) -> Remake {
    let appliance = Appliance::parse("appliance.toml", &format!("{text}\n{IMAGE}")).unwrap();
    Remake::of(shipped).file(SETTINGS, 0o644, serde_json::to_vec(&appliance).unwrap())
}

/// Places the unit `forward` on a board that does not exist.
fn without_forward(image: Remake) -> Remake {
    image.change_units(|unit| {
        if unit["name"] == "forward" {
            unit["boards"] = json!([32]);
        }
    })
}

/// The released image with the settings of `text`, and with fault injection in netd if
/// `has_faults`.
pub fn image(text: &str, has_faults: bool) -> Image {
    let image = remake(&shipped(), text);
    if !has_faults {
        return image.image();
    }
    // In the image, netd is a link to the program of all services.
    let image = image.program("netd-with-faults", &fault_netd()).change_units(|unit| {
        if unit["name"] == "netd" {
            unit["exec"] = json!("/usr/lib/octet/netd-with-faults");
        }
    });
    image.image()
}

impl Site {
    /// Starts the released image as the router of `text`, and waits until it is ready.
    pub fn start(text: &str) -> Self {
        let site = Self::power_on(text, None);
        site.wait_ready();
        site
    }

    /// The same of another image, without the unit `forward`: then no device leads to nodes, as before its start.
    pub fn without_forward(shipped: &Image, text: &str) -> Self {
        let image = without_forward(remake(shipped, text)).image();
        let site = Self::of(&image, text, None, None);
        site.wait_ready();
        site
    }

    /// The same with further devices in `lan`, and as many at the uplink, which the router has not
    /// met yet.
    pub fn among(text: &str, devices: u8) -> Self {
        let site = Self::built(&image(text, false), text, None, None, devices);
        site.wait_ready();
        site
    }

    /// The same without rules, and without the unit `forward`.
    pub fn without_rules(shipped: &Image, text: &str) -> Self {
        let nothing = std::fs::read(guest_for(shipped.architecture, "nothing")).unwrap();
        let image = remake(shipped, text).file("/usr/sbin/nft", 0o755, nothing);
        let site = Self::of(&without_forward(image).image(), text, None, None);
        site.wait_ready();
        site
    }

    /// The same with a netd that has this fault (netd/src/fault.rs).
    pub fn with_fault(text: &str, fault: &str) -> Self {
        let site = Self::power_on(text, Some(fault));
        site.wait_ready();
        site
    }

    /// Waits until it is ready.
    pub fn wait_ready(&self) {
        let status = self.machine.wait_ready(READY).unwrap_or_else(|error| panic!("{error}"));
        let netd = status.unit("netd").unwrap();
        assert_eq!(netd.state, UnitState::Ready, "{status:?}\n{}", self.machine.tail(40));
        // `forward` is not a base unit, and would miss changes of the settings before it runs.
        let is_over = |status: &Status| {
            let state = status.unit("forward").map(|unit| unit.state);
            !matches!(state, Some(UnitState::Waiting | UnitState::Starting))
        };
        let status = self.machine.wait_status("forward has started", READY, is_over);
        status.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the router may use all its addresses: for those of IPv6 it first checks whether
    /// another host has them.
    pub fn wait_addresses(&mut self) {
        let leg = self.leg(Zone::Board(1));
        let router = self.panel.legs()[leg].router.ipv6.into();
        let sentinels = self.sentinels();
        self.panel.sweep(&[Probe::new(leg, router, Traffic::Tcp(53))], &sentinels).unwrap();
    }

    /// Starts it without waiting.
    pub fn power_on(text: &str, fault: Option<&str>) -> Self {
        Self::of(&image(text, fault.is_some()), text, fault, None)
    }

    /// Starts `image`, which was made of `text`, with this fault, and with a disk, if given.
    pub fn of(image: &Image, text: &str, fault: Option<&str>, disk: Option<Disk>) -> Self {
        Self::built(image, text, fault, disk, 0)
    }

    fn built(
        image: &Image,
        text: &str,
        fault: Option<&str>,
        disk: Option<Disk>,
        devices: u8,
    ) -> Self {
        let world = world(text);
        let boards = world.boards();
        let cards = boards + 2;
        let builder = image.machine().memory(MEMORY).kernel_argument("octet.board=router");
        let builder = (0..cards).fold(builder, |builder, number| builder.nic(card(number)));
        let fault = fault.map(|fault| format!("octet.netd={fault}"));
        let builder = fault.iter().fold(builder, |builder, it| builder.kernel_argument(it));
        let builder = disk.into_iter().fold(builder, Builder::disk);
        let machine = Arc::new(builder.start().unwrap());
        let mut legs = vec![Leg::uplink(Mac::number(200), card(0))];
        legs.extend((1..=boards).map(|number| Leg::board(number, card(number))));
        legs.push(Leg::lan(Mac::number(201), card(boards + 1)));
        for leg in legs.iter_mut().filter(|leg| ["lan", "uplink"].contains(&leg.zone.as_str())) {
            leg.others = (0..devices).map(|number| device(leg, number)).collect();
        }
        let port = |(number, leg)| (machine.port(number).unwrap(), leg);
        let panel = Switchboard::new(legs.into_iter().enumerate().map(port).collect());
        Self { machine, panel, world }
    }

    /// The leg of `zone`.
    pub fn leg(&self, zone: Zone) -> usize {
        self.panel.leg(&zone.to_string()).unwrap()
    }

    /// The sentinels of all legs, which show that earlier probes were handled.
    pub fn sentinels(&self) -> Vec<Sentinel> {
        sentinels(&self.panel)
    }

    /// Sentinels that even a router without rules answers: neighbour discovery.
    pub fn who_is_there(&self) -> Vec<Sentinel> {
        (0..self.panel.legs().len()).map(Sentinel::Neighbour).collect()
    }
}

/// The address of a further device of `leg`, by its number: IPv4 and IPv6 alternate.
fn device(leg: &Leg, number: u8) -> IpAddr {
    if number.is_multiple_of(2) {
        let [a, b, c, _] = leg.test.ipv4.octets();
        return Ipv4Addr::new(a, b, c, 10 + number).into();
    }
    Ipv6Addr::from(u128::from(leg.test.ipv6) & !0xffff | 0x1000 | u128::from(number)).into()
}

/// Sentinels that are allowed in every zone and answered: DNS queries to the router; at the uplink,
/// neighbour discovery.
pub fn sentinels(panel: &Switchboard) -> Vec<Sentinel> {
    let sentinel = |(index, leg): (usize, &Leg)| match leg.zone.as_str() {
        "uplink" => Sentinel::Neighbour(index),
        _ => {
            let probe = Probe::new(index, leg.router.ipv4.into(), Traffic::Tcp(53));
            Sentinel::Probe(probe, ProbeOutcome::Answered)
        }
    };
    panel.legs().iter().enumerate().map(sentinel).collect()
}

/// The probe for this query.
///
/// # Panics
/// One of the zones has no leg.
pub fn probe(panel: &Switchboard, (from, to, traffic, version): Asked) -> Probe {
    let leg = |zone: Zone| {
        let leg = panel.leg(&zone.to_string());
        leg.unwrap_or_else(|| panic!("{zone} has no leg"))
    };
    let end = match to {
        Zone::Router => panel.legs()[leg(from)].router,
        to => panel.legs()[leg(to)].test,
    };
    let address = match version {
        Version::V4 => end.ipv4.into(),
        Version::V6 => end.ipv6.into(),
    };
    let traffic = match traffic {
        octet_evaluator::Traffic::Tcp(port) => Traffic::Tcp(port),
        octet_evaluator::Traffic::Udp(port) => Traffic::Udp(port),
        octet_evaluator::Traffic::Ping => Traffic::Ping,
        octet_evaluator::Traffic::Protocol(number) => Traffic::Protocol(number),
    };
    Probe::new(leg(from), address, traffic)
}
