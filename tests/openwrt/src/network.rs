//! The status of interfaces and devices as `netifd` reports it, and the reachability of ports.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::router::Router;
use crate::uci::{Package, Section};

/// The bridge's ports, and the port of the uplink.
const DEVICES: [&str; 10] =
    ["br-lan", "lan1", "lan2", "lan3", "lan4", "lan5", "lan6", "lan7", "lan8", "wan"];

/// The counters that are always zero here.
const STATISTICS: &str = "collisions rx_frame_errors tx_compressed multicast rx_length_errors tx_dropped rx_bytes \
    rx_missed_errors tx_errors rx_compressed rx_over_errors tx_fifo_errors rx_crc_errors rx_packets \
    tx_heartbeat_errors rx_dropped tx_aborted_errors tx_packets rx_errors tx_bytes tx_window_errors rx_fifo_errors \
    tx_carrier_errors";

fn running(router: &Router) -> &Package {
    &router.running["network"]
}

fn of<'a>(package: &'a Package, kind: &'a str) -> impl Iterator<Item = &'a Section> {
    package.sections.iter().filter(move |it| it.kind == kind)
}

/// The interfaces, by name.
pub(crate) fn interfaces(router: &Router) -> BTreeMap<String, &Section> {
    of(running(router), "interface").map(|it| (it.name.clone(), it)).collect()
}

pub(crate) fn dump(router: &Router) -> Value {
    let mut all = vec![];
    for (name, section) in interfaces(router) {
        let mut json = json!({ "interface": name });
        if let (Some(json), Some(more)) =
            (json.as_object_mut(), interface(router, section).as_object())
        {
            json.extend(more.clone());
        }
        all.push(json);
    }
    json!({ "interface": all })
}

pub(crate) fn status(router: &Router, name: &str) -> Option<Value> {
    interfaces(router).get(name).map(|section| interface(router, section))
}

/// An address with its prefix length.
fn address(text: &str) -> Value {
    let (address, mask) = text.split_once('/').unwrap_or((text, "32"));
    json!({ "address": address, "mask": mask.parse::<u8>().unwrap_or(32) })
}

fn interface(router: &Router, section: &Section) -> Value {
    let (device, proto) = (section.one("device"), section.one("proto").unwrap_or("none"));
    let nothing = json!({ "ipv4-address": [], "ipv6-address": [], "route": [], "dns-server": [], "dns-search": [],
        "neighbors": [] });
    // A VLAN that the bridge does not have has no carrier.
    let up = device.is_none_or(|device| has_carrier(router, device));
    let mut json = json!({
        "up": up, "pending": false, "available": true, "autostart": true, "dynamic": false,
        "uptime": 1, "l3_device": device, "proto": proto, "device": device, "updated": ["addresses"],
        "metric": 0, "dns_metric": 0, "delegation": true, "ipv4-address": [], "ipv6-address": [],
        "ipv6-prefix": [], "ipv6-prefix-assignment": [], "route": [], "dns-server": [], "dns-search": [],
        "neighbors": [], "inactive": nothing, "data": {},
    });
    match proto {
        "static" => {
            let all = |key| section.all(key).into_iter().map(address).collect::<Vec<_>>();
            json["ipv4-address"] = json!(all("ipaddr"));
            json["ipv6-address"] = json!(all("ip6addr"));
        }
        "dhcp" => {
            json["updated"] = json!(["addresses", "data"]);
            json["ipv4-address"] = json!([address("10.0.2.15/24")]);
            json["data"] = json!({ "dhcpserver": "10.0.2.2", "leasetime": 86400 });
        }
        // This router does not have the protocol's program.
        _ => {
            json["proto"] = json!("none");
            if let Some(json) = json.as_object_mut() {
                json.remove("updated");
            }
        }
    }
    if section.one("ip6assign").is_some() {
        let prefix = of(running(router), "globals").find_map(|it| it.one("ula_prefix"));
        let prefix = prefix.and_then(|it| it.strip_suffix("/48")).unwrap_or("fd00::");
        let local = json!({ "address": format!("{prefix}1"), "mask": 60 });
        json["ipv6-prefix-assignment"] =
            json!([{ "address": prefix, "mask": 60, "local-address": local }]);
    }
    json
}

fn has_carrier(router: &Router, device: &str) -> bool {
    let Some((bridge, vlan)) = device.split_once('.') else { return true };
    let mut vlans =
        of(running(router), "bridge-vlan").filter(|it| it.one("device") == Some(bridge));
    vlans.any(|it| it.one("vlan") == Some(vlan) && it.one("local") != Some("0"))
}

/// `network.device status` of all devices.
pub(crate) fn devices(router: &Router) -> Value {
    let all = DEVICES.iter().chain(&["lo"]);
    json!(all.map(|name| (*name, device(router, name))).collect::<BTreeMap<_, _>>())
}

/// `network.device status` of one device.
pub fn device(router: &Router, name: &str) -> Option<Value> {
    let number = DEVICES.iter().position(|it| *it == name);
    if number.is_none() && name != "lo" {
        return None;
    }
    let mac = format!("52:54:00:00:00:{:02x}", number.unwrap_or(0).max(1));
    let none: [&str; 0] = [];
    let flow = json!({ "autoneg": true, "supported": none, "link-advertising": none,
        "link-partner-advertising": none, "negotiated": none });
    let statistics: BTreeMap<_, _> = STATISTICS.split_whitespace().map(|it| (it, 0)).collect();
    let mut json = json!({
        "external": false, "present": true, "type": "Network device", "up": true, "carrier": true,
        "auth_status": false, "mtu": 1500, "mtu6": 1500, "macaddr": mac, "txqueuelen": 1000,
        "ipv6": matches!(name, "br-lan" | "wan" | "lo"), "ip6segmentrouting": false, "promisc": false,
        "rpfilter": 0, "acceptlocal": false, "igmpversion": 0, "mldversion": 0,
        "neigh4reachabletime": 30000, "neigh6reachabletime": 30000, "neigh4gcstaletime": 60,
        "neigh6gcstaletime": 60, "neigh4locktime": 100, "dadtransmits": 1, "multicast": true,
        "sendredirects": true, "drop_v4_unicast_in_l2_multicast": false,
        "drop_v6_unicast_in_l2_multicast": false, "drop_gratuitous_arp": false,
        "drop_unsolicited_na": false, "arp_accept": false, "gro": true, "statistics": statistics,
    });
    if number.is_none() {
        json["mtu"] = json!(65536);
        json["mtu6"] = json!(65536);
        json["macaddr"] = json!("00:00:00:00:00:00");
        json["multicast"] = json!(false);
        return Some(json);
    }
    for list in ["link-advertising", "link-partner-advertising", "link-supported"] {
        json[list] = json!(none);
    }
    json["autoneg"] = json!(false);
    json["flow-control"] = flow;
    json["hw-tc-offload"] = json!(false);
    json["devtype"] = json!("ethernet");
    let bridges = of(running(router), "device").filter(|it| it.one("type") == Some("bridge"));
    if let Some(bridge) = { bridges }.find(|it| it.one("name") == Some(name)) {
        let vlans = vlans(router, name);
        let is_filtering = !vlans.is_empty() || bridge.one("vlan_filtering") == Some("1");
        json["type"] = json!("bridge");
        json["devtype"] = json!("bridge");
        json["bridge-members"] = json!(bridge.all("ports"));
        json["bridge-attributes"] = json!({
            "stp": false, "forward_delay": 8, "priority": 32767, "ageing_time": 0, "hello_time": 1, "max_age": 10,
            "igmp_snooping": false, "bridge_empty": false, "multicast_querier": false, "hash_max": 512,
            "robustness": 2, "query_interval": 12500, "query_response_interval": 1000,
            "last_member_interval": 100, "vlan_filtering": is_filtering, "stp_kernel": false,
        });
        if !vlans.is_empty() {
            json["bridge-vlans"] = json!(vlans);
        }
    }
    Some(json)
}

/// The VLANs of a bridge, as in its status.
fn vlans(router: &Router, bridge: &str) -> Vec<Value> {
    let vlans = of(running(router), "bridge-vlan").filter(|it| it.one("device") == Some(bridge));
    let vlan = |it: &Section| {
        let id: u16 = it.one("vlan")?.parse().ok().filter(|id| (1..4095).contains(id))?;
        let ports: Vec<_> =
            it.all("ports").into_iter().map(|port| port.replace(":u*", ":*")).collect();
        Some(json!({ "id": id, "local": it.one("local") != Some("0"), "ports": ports }))
    };
    vlans.filter_map(vlan).collect()
}

impl Router {
    /// Whether a host at [`Router::port`] reaches an address of the router: an interface has to be
    /// on the bridge, or on the VLAN of the port.
    pub fn is_reached(&self) -> bool {
        let network = running(self);
        let mut bridges = of(network, "device").filter(|it| it.one("type") == Some("bridge"));
        let Some(bridge) = bridges.find(|it| it.all("ports").contains(&self.port.as_str())) else {
            return of(network, "interface").any(|it| it.one("device") == Some(&self.port));
        };
        let name = bridge.one("name").unwrap_or_default();
        let vlans = of(network, "bridge-vlan").filter(|it| it.one("device") == Some(name));
        let vlans: Vec<_> = vlans.collect();
        let untagged = format!("{}:u*", self.port);
        let device = match vlans.iter().find(|it| it.all("ports").contains(&untagged.as_str())) {
            Some(vlan) => format!("{name}.{}", vlan.one("vlan").unwrap_or_default()),
            None if vlans.is_empty() => name.to_owned(),
            None => return false,
        };
        of(network, "interface").any(|it| it.one("device") == Some(&device))
    }
}
