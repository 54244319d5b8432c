//! `[cluster]`, `[[board]]`, `[lan]`, and the uplink in `[network]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toml::Table;

use crate::section::Section;

#[derive(Debug, Clone)]
pub(crate) struct Board {
    pub number: u8,
    /// The router's device of its port.
    pub device: String,
    pub role: Option<String>,
    pub mac: Option<[u8; 6]>,
}

/// The box without its rules.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// All boards, in the order of their numbers.
    pub boards: Vec<Board>,
    /// The first two bytes of every IPv4 address.
    pub network: [u8; 2],
    /// The first three groups of every IPv6 address.
    pub network6: [u16; 3],
    pub uplink: String,
    /// The device of the zone `lan`, if there is one.
    pub lan: Option<String>,
    /// The router's fixed addresses on the uplink; empty with DHCP.
    pub own: Vec<IpAddr>,
    /// The board that is the coordinator because the router is not.
    pub manager: Option<u8>,
    /// The port of the web server of a router that does not run Octet, if its address is
    /// configured.
    pub web: Option<u16>,
}

impl Cluster {
    pub fn read(file: &Table) -> Result<Self, String> {
        let keys = ["boards", "router", "uplink", "ports", "network", "network6"];
        let cluster = Section::find(file, "cluster", &keys)?.ok_or("there is no [cluster]")?;
        let count: u8 = cluster.must("boards", cluster.number("boards")?)?;
        if ![4, 8, 16, 32].contains(&count) {
            return Err(cluster.wrong(format_args!("{count} boards")));
        }
        let mut ports: Vec<String> =
            cluster.texts("ports")?.into_iter().map(str::to_owned).collect();
        if cluster.value("ports").is_none() {
            ports = (1..=count).map(|number| format!("eth{number}")).collect();
        }
        if ports.len() != usize::from(count) {
            return Err(cluster.wrong(format_args!("{} ports", ports.len())));
        }
        let network = cluster.text("network")?.unwrap_or("10.20.0.0/16");
        let network6 = cluster.text("network6")?.unwrap_or("fd6f:6374:6574::/48");
        let four: Ipv4Addr = base(network, "/16")?;
        let six: Ipv6Addr = base(network6, "/48")?;
        let boards = (1..=count).map(|number| board(file, &ports, number));
        let boards: Vec<Board> = boards.collect::<Result<_, _>>()?;
        let mut managers = boards.iter().filter(|board| board.role.as_deref() == Some("manager"));
        // A text, or a table with the address.
        let router = cluster.value("router");
        let address = router.and_then(|router| router.get("address")).and_then(toml::Value::as_str);
        let web = address.map(web_port).transpose()?;
        let router = router.map(|router| router.get("kind").unwrap_or(router));
        let manager = match router.and_then(toml::Value::as_str) {
            Some("openwrt") => Some(cluster.must("router", managers.next())?.number),
            _ => None,
        };
        Ok(Self {
            boards,
            manager,
            web,
            network: [four.octets()[0], four.octets()[1]],
            network6: [six.segments()[0], six.segments()[1], six.segments()[2]],
            uplink: cluster.text("uplink")?.unwrap_or("eth0").to_owned(),
            lan: lan(file, count)?,
            own: own(file)?,
        })
    }
}

/// The port in `HOST:PORT` or `[IPv6]:PORT`; 443 by default.
fn web_port(address: &str) -> Result<u16, String> {
    let has_port = address.contains("]:") || address.matches(':').count() == 1;
    let port = if has_port { address.rsplit(':').next().unwrap_or_default() } else { "443" };
    port.parse().map_err(|_| format!("`{address}` has no port"))
}

fn base<T: std::str::FromStr>(network: &str, length: &str) -> Result<T, String> {
    let address = network.strip_suffix(length).and_then(|address| address.parse().ok());
    address.ok_or_else(|| format!("`{network}` is no network of {length}"))
}

/// Board `number`, with or without a section.
fn board(file: &Table, ports: &[String], number: u8) -> Result<Board, String> {
    let keys = ["number", "port", "role", "services", "mac"];
    let mut board =
        Board { number, device: ports[usize::from(number) - 1].clone(), role: None, mac: None };
    for section in Section::all(file, "board", &keys)? {
        let its: u8 = section.must("number", section.number("number")?)?;
        if its == 0 || usize::from(its) > ports.len() {
            return Err(section.wrong(format_args!("there is no board {its}")));
        }
        if its != number {
            continue;
        }
        if let Some(port) = section.number::<usize>("port")? {
            let device = port.checked_sub(1).and_then(|at| ports.get(at));
            board.device = section.must("port", device)?.clone();
        }
        board.role = section.text("role")?.map(str::to_owned);
        board.mac = section.text("mac")?.map(mac).transpose()?;
    }
    Ok(board)
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Option<Vec<u8>> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("`{text}` is no Ethernet address"))
}

fn lan(file: &Table, boards: u8) -> Result<Option<String>, String> {
    let Some(lan) = Section::find(file, "lan", &["port"])? else { return Ok(None) };
    let after = || format!("eth{}", boards + 1);
    Ok(Some(lan.text("port")?.map_or_else(after, str::to_owned)))
}

fn own(file: &Table) -> Result<Vec<IpAddr>, String> {
    let keys = ["address", "gateway", "link"];
    let Some(network) = Section::find(file, "network", &keys)? else { return Ok(vec![]) };
    let addresses = network.texts("address")?;
    let fixed = addresses.into_iter().filter(|address| *address != "dhcp");
    fixed
        .map(|address| {
            let ip = address.split('/').next().unwrap_or_default();
            ip.parse().map_err(|_| network.wrong(format_args!("`{address}` is no address")))
        })
        .collect()
}
