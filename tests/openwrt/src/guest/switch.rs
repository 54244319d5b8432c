//! Simulates `netifd` for the bridge, its VLANs, and addresses.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use octet_openwrt_double::uci::Package;
use rtnetlink::packet_route::link::{BridgeVlanInfoFlags, LinkMessage};
use rtnetlink::{LinkBridgeVlan, new_connection};

/// The bridge and its ports. Those of boards are first: the bridge has the first one's MAC address.
const BRIDGE: &str = "br-lan";
const PORTS: [&str; 8] = ["lan1", "lan2", "lan3", "lan4", "lan5", "lan6", "lan7", "lan8"];
const OUT: &str = "wan";

/// The desired or the actual state of the kernel.
#[derive(Debug, Clone, Default)]
struct Switch {
    /// Whether the bridge filters by VLAN.
    is_filtering: bool,
    /// The VLAN memberships of ports and of the bridge itself.
    members: BTreeSet<Member>,
    /// The devices on VLANs of the bridge.
    devices: BTreeSet<String>,
    /// The addresses with their prefix lengths.
    addresses: BTreeSet<(String, IpAddr, u8)>,
    gateways: BTreeSet<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Member {
    device: String,
    vlan: u16,
    /// Whether frames are untagged at this port.
    is_untagged: bool,
}

static HAS: Mutex<Switch> = Mutex::new(Switch {
    is_filtering: false,
    members: BTreeSet::new(),
    devices: BTreeSet::new(),
    addresses: BTreeSet::new(),
    gateways: BTreeSet::new(),
});

/// Creates the bridge, and enables its ports.
///
/// # Errors
/// A port is missing, or the kernel refuses.
pub fn begin() -> io::Result<()> {
    ip(&format!("link add name {BRIDGE} type bridge"))?;
    for (what, value) in [("default_pvid", 0), ("multicast_snooping", 0), ("forward_delay", 0)] {
        bridge(what, value)?;
    }
    for port in PORTS {
        ip(&format!("link set dev {port} master {BRIDGE} up"))?;
    }
    for name in [BRIDGE, OUT, "lo"] {
        ip(&format!("link set dev {name} up"))?;
    }
    Ok(())
}

/// Applies the file `network` to the kernel; unchanged parts are left alone.
pub fn run(network: &Package) -> io::Result<()> {
    let new = Switch::of(network);
    let mut has = has();
    let old = has.clone();
    for gateway in old.gateways.difference(&new.gateways) {
        ip(&route("del", *gateway))?;
    }
    for (device, address, prefix) in old.addresses.difference(&new.addresses) {
        ip(&format!("addr del {address}/{prefix} dev {device}"))?;
    }
    for device in old.devices.difference(&new.devices) {
        ip(&format!("link del dev {device}"))?;
    }
    for member in old.members.difference(&new.members) {
        member.tell(false)?;
    }
    for member in new.members.difference(&old.members) {
        member.tell(true)?;
    }
    bridge("vlan_filtering", u8::from(new.is_filtering))?;
    for device in new.devices.difference(&old.devices) {
        let vlan = device.rsplit('.').next().unwrap_or_default();
        ip(&format!("link add link {BRIDGE} name {device} type vlan id {vlan}"))?;
        ip(&format!("link set dev {device} up"))?;
    }
    for (device, address, prefix) in new.addresses.difference(&old.addresses) {
        ip(&format!("addr add {address}/{prefix} dev {device}"))?;
    }
    for gateway in new.gateways.difference(&old.gateways) {
        ip(&route("add", *gateway))?;
    }
    *has = new;
    Ok(())
}

/// Copies the frames that are received at the port `from` to the port `to`, regardless of VLANs,
/// until both leave their VLANs. The configuration does not show this.
///
/// # Errors
/// The port `from` is in no VLAN, or the kernel refuses.
pub fn leak(from: &str, to: &str) -> io::Result<()> {
    let has = has();
    let vlan = has.members.iter().find(|it| it.device == from && it.is_untagged).map(|it| it.vlan);
    let vlan = vlan.ok_or_else(|| io::Error::other(format!("{from} is in no VLAN")))?;
    Member { device: to.to_owned(), vlan, is_untagged: true }
        .tell_with(BridgeVlanInfoFlags::Untagged, true)
}

fn has() -> MutexGuard<'static, Switch> {
    HAS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Switch {
    fn of(network: &Package) -> Self {
        let mut switch = Self::default();
        let of = |kind: &'static str| network.sections.iter().filter(move |it| it.kind == kind);
        for section in of("bridge-vlan").filter(|it| it.one("device") == Some(BRIDGE)) {
            let Some(vlan) = section.one("vlan").and_then(|it| it.parse().ok()) else { continue };
            switch.is_filtering = true;
            let ports = section.all("ports").into_iter().map(|port| {
                let (device, how) = port.split_once(':').unwrap_or((port, "u*"));
                Member { device: device.to_owned(), vlan, is_untagged: how.starts_with('u') }
            });
            switch.members.extend(ports);
            if section.one("local") != Some("0") {
                switch.members.insert(Member {
                    device: BRIDGE.to_owned(),
                    vlan,
                    is_untagged: false,
                });
            }
        }
        for section in of("interface").filter(|it| it.one("proto") == Some("static")) {
            let Some(device) = section.one("device").filter(|it| *it != "lo") else { continue };
            if device.starts_with("br-lan.") {
                switch.devices.insert(device.to_owned());
            }
            for text in [section.all("ipaddr"), section.all("ip6addr")].concat() {
                let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
                if let (Ok(address), Ok(prefix)) = (address.parse(), prefix.parse()) {
                    switch.addresses.insert((device.to_owned(), address, prefix));
                }
            }
            let gateways = ["gateway", "ip6gw"].map(|key| section.one(key)?.parse::<IpAddr>().ok());
            switch.gateways.extend(gateways.into_iter().flatten());
        }
        switch
    }
}

impl Member {
    /// Adds the membership to the kernel or removes it, like `bridge vlan` of iproute2, which
    /// busybox lacks.
    fn tell(&self, is_one: bool) -> io::Result<()> {
        let pvid = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
        let flags = if self.is_untagged { pvid } else { BridgeVlanInfoFlags::empty() };
        self.tell_with(flags, is_one)
    }

    fn tell_with(&self, flags: BridgeVlanInfoFlags, is_one: bool) -> io::Result<()> {
        let path = format!("/sys/class/net/{}/ifindex", self.device);
        let index = fs::read_to_string(&path)
            .map_err(|error| io::Error::other(format!("{}: {error}", self.device)))?;
        let message = LinkBridgeVlan::new(index.trim().parse().map_err(io::Error::other)?);
        let message = message.vlan(self.vlan, flags);
        let itself = self.device == BRIDGE;
        let message = if itself { message.bridge_self() } else { message }.build();
        vlan(message, is_one).map_err(|error| io::Error::other(format!("{self:?}: {error}")))
    }
}

/// Sends a message to the kernel (rtnetlink(7)).
fn vlan(message: LinkMessage, is_one: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, kernel, _) = new_connection()?;
        let connection = tokio::spawn(connection);
        let done = match is_one {
            true => kernel.link().set(message).execute().await,
            false => kernel.link().del_with_message(message).execute().await,
        };
        connection.abort();
        done.map_err(io::Error::other)
    })
}

fn bridge(what: &str, value: u8) -> io::Result<()> {
    fs::write(format!("/sys/class/net/{BRIDGE}/bridge/{what}"), value.to_string())
}

fn route(how: &str, gateway: IpAddr) -> String {
    let family = if gateway.is_ipv4() { "-4" } else { "-6" };
    format!("{family} route {how} default via {gateway}")
}

/// Runs `ip` of busybox.
fn ip(line: &str) -> io::Result<()> {
    let status = Command::new("/sbin/ip").args(line.split(' ')).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ip {line}: {status}"))) }
}
