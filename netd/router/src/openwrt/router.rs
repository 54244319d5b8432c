//! The switch and the zones of a router, from its configuration.

use octet_appliance::LinkName;
use serde::Deserialize;

use super::sections::PREFIX;
use super::uci::{self, UciError, UciSection};
use crate::plan::RouterPlan;

/// A router's current configuration.
#[derive(Debug)]
pub struct OpenwrtRouter {
    /// The model name of its manufacturer.
    pub model: String,
    pub sections: Vec<UciSection>,
    /// The bridge that contains all ports of the plan.
    pub bridge: String,
    pub others: Vec<String>,
    /// The firewall zone of the uplink.
    pub outside: String,
}

/// A router that the plan cannot be applied to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// The configuration cannot be read.
    #[error("its configuration cannot be read: {0}")]
    Uci(#[from] UciError),
    /// `/etc/board.json` cannot be read.
    #[error("what /etc/board.json says cannot be read: {0}")]
    Board(String),
    /// The switch is configured by `swconfig` instead of DSA.
    #[error(
        "{0} has a switch that is set up by `swconfig`, and has no port of its own for each board"
    )]
    Swconfig(String),
    /// A port is not a port of the switch.
    #[error("{model} has no bridge with the ports {wanted}; {there}")]
    NoBridge { model: String, wanted: String, there: String },
    #[error("no zone of the firewall has `{0}`, the port that leads out, or a network by it")]
    NoOutside(LinkName),
    /// A zone may include the uplink by a device, where the plan does not look for it.
    #[error(
        "{label} has `{device}` by `list device`, and the plan finds the zone of `{uplink}`, the port that leads out, \
         by its network: say `list network '{network}'` there, too"
    )]
    OutsideByDevice {
        label: String,
        /// The device that the zone names.
        device: String,
        /// The uplink's port.
        uplink: LinkName,
        /// The network on that port.
        network: String,
    },
}

impl RouterError {
    pub fn help(&self) -> &'static str {
        match self {
            Self::Uci(_) | Self::Board(_) => {
                "give what `for it in network firewall dhcp system; do uci export $it; done; \
                 cat /etc/board.json` says on the router"
            }
            Self::Swconfig(_) => {
                "take a router whose switch is a bridge (DSA), as OpenWrt's have since 21.02"
            }
            Self::NoBridge { .. } => {
                "name the switch's ports in `[cluster] ports` and `[lan] port`"
            }
            Self::NoOutside(_) => "name the router's port that leads out in `[cluster] uplink`",
            Self::OutsideByDevice { .. } => {
                "`uci add_list` adds it, and then `uci commit firewall`: rules stay as they are"
            }
        }
    }
}

/// The part of `/etc/board.json` that is needed.
#[derive(Deserialize)]
struct Board {
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    name: String,
}

impl OpenwrtRouter {
    /// Reads the output of `uci export`, followed by `/etc/board.json`, of the router for `plan`.
    ///
    /// # Errors
    /// The text cannot be read, or the plan cannot be applied to this router.
    pub fn read(text: &str, plan: &RouterPlan) -> Result<Self, RouterError> {
        let json = text.find("\n{").map_or(text.len(), |at| at + 1);
        let (exported, board) = text.split_at(json);
        let model = match board.trim() {
            "" => "the router".to_owned(),
            board => {
                let board: Board = serde_json::from_str(board)
                    .map_err(|error| RouterError::Board(error.to_string()))?;
                board.model.name
            }
        };
        Self::of(model, uci::parse(exported)?, plan)
    }

    /// The router of this `model` with this configuration.
    ///
    /// # Errors
    /// The plan cannot be applied to this router.
    pub fn of(
        model: String,
        sections: Vec<UciSection>,
        plan: &RouterPlan,
    ) -> Result<Self, RouterError> {
        let of = |config: &'static str, kind: &'static str| {
            sections.iter().filter(move |it| it.config == config && it.kind == kind)
        };
        if of("network", "switch").next().is_some() {
            return Err(RouterError::Swconfig(model));
        }
        let wanted: Vec<&str> = plan.segments().map(|it| it.device.as_str()).collect();
        let bridges = of("network", "device").filter(|it| it.one("type") == Some("bridge"));
        let bridges: Vec<(&str, Vec<&str>)> =
            bridges.filter_map(|it| Some((it.one("name")?, it.all("ports").collect()))).collect();
        let found = bridges.iter().find(|(_, ports)| wanted.iter().all(|it| ports.contains(it)));
        let (bridge, ports) = found.ok_or_else(|| {
            let there: Vec<_> = bridges
                .iter()
                .map(|(name, ports)| format!("`{name}` has {}", ports.join(", ")))
                .collect();
            let there = if there.is_empty() { "there is none".into() } else { there.join("; ") };
            RouterError::NoBridge { model: model.clone(), wanted: wanted.join(", "), there }
        })?;
        let (bridge, others) = (
            (*bridge).to_owned(),
            ports.iter().filter(|it| !wanted.contains(it)).map(|it| (*it).to_owned()).collect(),
        );
        let outside: Vec<&str> = of("network", "interface")
            .filter(|it| it.one("device") == Some(plan.uplink.as_str()))
            .filter_map(|it| it.name.as_deref())
            .collect();
        let outside = of("firewall", "zone")
            .find(|zone| {
                zone.all("network").any(|network| outside.contains(&network))
                    || zone.all("device").any(|device| device == plan.uplink.as_str())
            })
            .and_then(|zone| zone.one("name"))
            .ok_or_else(|| no_outside(&sections, &outside, plan))?
            .to_owned();
        Ok(Self { model, bridge, others, outside, sections })
    }

    /// A section as people find it ([`label`]).
    pub fn label(&self, section: &UciSection) -> String {
        label(&self.sections, section)
    }

    /// Our sections.
    pub fn ours(&self) -> impl Iterator<Item = &UciSection> {
        self.sections.iter().filter(|it| is_ours(it))
    }

    /// The owner's sections of this kind.
    pub fn owners(&self, config: &str, kind: &str) -> impl Iterator<Item = &UciSection> {
        self.sections
            .iter()
            .filter(move |it| !is_ours(it) && it.config == config && it.kind == kind)
    }
}

/// A section as people find it: `network interface 'lan'`. An anonymous one is named as `uci`
/// accepts it, by its index among those of its type: `firewall rule '@rule[3]' (name
/// 'Allow-Ping')`.
fn label(sections: &[UciSection], section: &UciSection) -> String {
    let UciSection { config, kind, name: None, .. } = section else { return section.label() };
    let mut alike = sections.iter().filter(|it| it.config == *config && it.kind == *kind);
    let Some(place) = alike.position(|it| std::ptr::eq(it, section)) else {
        return section.label();
    };
    // The option may contain spaces.
    let name = section.all("name").collect::<Vec<_>>().join(" ");
    let name = if name.is_empty() { name } else { format!(" (name '{name}')") };
    format!("{config} {kind} '@{kind}[{place}]'{name}")
}

/// Why there is no zone of the uplink. A zone may include the port by a prefix of its name
/// (`wan+`), or by the device of a protocol (`pppoe-wan`); `networks` are those on the port.
fn no_outside(sections: &[UciSection], networks: &[&str], plan: &RouterPlan) -> RouterError {
    let uplink = plan.uplink.as_str();
    let leads_out = |device: &&str| match device.strip_suffix('+') {
        Some(begin) => !begin.is_empty() && uplink.starts_with(begin),
        None => device.split_once('-').is_some_and(|(_, network)| networks.contains(&network)),
    };
    let mut zones = sections.iter().filter(|it| it.config == "firewall" && it.kind == "zone");
    let found = zones.find_map(|zone| Some((zone, zone.all("device").find(leads_out)?)));
    match (found, networks.first()) {
        (Some((zone, device)), Some(network)) => RouterError::OutsideByDevice {
            label: label(sections, zone),
            device: device.to_owned(),
            uplink: plan.uplink.clone(),
            network: (*network).to_owned(),
        },
        _ => RouterError::NoOutside(plan.uplink.clone()),
    }
}

/// Whether a section is one of ours.
pub fn is_ours(section: &UciSection) -> bool {
    section.name.as_deref().is_some_and(|name| name.starts_with(PREFIX))
}
