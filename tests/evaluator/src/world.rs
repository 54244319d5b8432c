//! The content of the file and of the unit files.

use crate::built_in;
use crate::cluster::Cluster;
use crate::line::{Line, What, Word};
use crate::neighbour;
use crate::policy;
use crate::publish::{self, Publish};
use crate::section::Section;
use crate::traffic::{Traffic, no_bare_protocol};
use crate::units;
use crate::zone::Zone;

/// A box, as its files describe it.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) cluster: Cluster,
    /// The built-in rules, then policies, then the router's neighbours, in the order of the file.
    pub(crate) lines: Vec<Line>,
    pub(crate) publishes: Vec<Publish>,
    /// Whether the file has `[vpn]`.
    pub(crate) vpn: bool,
}

impl World {
    /// Reads the text of an `appliance.toml` and the texts of the unit files of its image, of which
    /// it uses names and ports. It expects valid files.
    ///
    /// # Errors
    /// It cannot read a part; the error is for people.
    pub fn read(appliance_toml: &str, unit_tomls: &[&str]) -> Result<Self, String> {
        let file: toml::Table = appliance_toml.parse().map_err(|error| format!("{error}"))?;
        let ports = units::read(unit_tomls)?;
        let gate: Vec<What> = units::all_of(&ports, "gate").into_iter().map(What::from).collect();
        let mut lines = policy::read(&file, &ports)?;
        let publishes = publish::read(&file, &ports)?;
        let vpn = Section::find(&file, "vpn", &["exit"])?.is_some();
        let world = Self { cluster: Cluster::read(&file)?, lines: vec![], publishes, vpn };
        for line in &lines {
            for word in line.from.iter().chain(&line.to) {
                if let Word::One(zone) = word {
                    world.must_have(*zone).map_err(|error| format!("{}: {error}", line.by))?;
                }
            }
        }
        for publish in &world.publishes {
            let board = world.must_have(Zone::Board(publish.board));
            board.map_err(|error| format!("{}: {error}", publish.by))?;
        }
        let Cluster { manager, web, .. } = world.cluster;
        let web = web.filter(|_| units::has(unit_tomls, "router"));
        let mut all = built_in::lines(&gate, manager, web, vpn);
        all.append(&mut lines);
        all.extend(neighbour::read(&file, &ports)?);
        Ok(Self { lines: all, ..world })
    }

    fn must_have(&self, zone: Zone) -> Result<(), String> {
        if self.has(zone) { Ok(()) } else { Err(format!("there is no {zone}")) }
    }

    /// The number of boards: 4, 8, 16 or 32.
    pub fn boards(&self) -> u8 {
        self.cluster.boards.iter().map(|board| board.number).max().unwrap_or(0)
    }

    /// Whether the box has this zone.
    pub fn has(&self, zone: Zone) -> bool {
        match zone {
            Zone::Board(number) => 1 <= number && number <= self.boards(),
            Zone::Lan => self.cluster.lan.is_some(),
            Zone::Router | Zone::Uplink | Zone::Path => true,
        }
    }

    /// The router, and all zones with a device of their own: all but `path`.
    pub fn zones(&self) -> Vec<Zone> {
        let boards = (1..=self.boards()).map(Zone::Board);
        let others = [Zone::Router, Zone::Lan, Zone::Uplink];
        boards.chain(others).filter(|zone| self.has(*zone)).collect()
    }

    /// The router's device for a board, `lan` or `uplink`.
    pub fn device(&self, zone: Zone) -> Option<&str> {
        match zone {
            Zone::Board(number) => {
                let board = self.cluster.boards.iter().find(|board| board.number == number);
                board.map(|board| board.device.as_str())
            }
            Zone::Lan => self.cluster.lan.as_deref(),
            Zone::Uplink => Some(&self.cluster.uplink),
            Zone::Router | Zone::Path => None,
        }
    }

    /// Whether `word` includes `zone`.
    pub(crate) fn means(&self, word: &Word, zone: Zone) -> bool {
        match (word, zone) {
            (Word::One(named), _) => *named == zone,
            (Word::Boards, Zone::Board(_)) => true,
            (Word::Role(role), Zone::Board(number)) => {
                let mut boards = self.cluster.boards.iter();
                boards.any(|board| board.number == number && board.role.as_ref() == Some(role))
            }
            _ => false,
        }
    }

    /// The traffic to probe: the bounds of all ports in rules, the adjacent ports, and the same
    /// with the other protocol. It is sorted.
    pub fn worth_a_probe(&self) -> Vec<Traffic> {
        let published = self.publishes.iter().flat_map(|publish| [publish.outside, publish.inside]);
        let said = self.lines.iter().flat_map(|line| line.what.iter().copied());
        let mut all = vec![Traffic::Ping];
        for what in said.chain(published.map(What::from)) {
            match what {
                What::Tcp(first, last) | What::Udp(first, last) => {
                    for port in [first.saturating_sub(1), first, last, last.saturating_add(1)] {
                        all.extend([Traffic::Tcp(port), Traffic::Udp(port)]);
                    }
                }
                What::Ping => {}
                What::Protocol(number) => {
                    let near = [number.saturating_sub(1), number, number.saturating_add(1)];
                    let bare = near.into_iter().filter(|number| !no_bare_protocol(*number));
                    all.extend(bare.map(Traffic::Protocol));
                }
            }
        }
        // Port 0 is not a valid destination.
        all.retain(|traffic| !matches!(traffic, Traffic::Tcp(0) | Traffic::Udp(0)));
        all.sort_unstable();
        all.dedup();
        all
    }
}
