//! The results of all probes as a table, and the differences of two tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::traffic::{Traffic, Version};
use crate::world::World;
use crate::zone::Zone;

/// The source, the destination, the traffic, and the version of IP.
pub type Probe = (Zone, Zone, Traffic, Version);

/// The zone in which each probe arrives, if any.
pub type Table = BTreeMap<Probe, Option<Zone>>;

impl World {
    /// The results for all ordered pairs of [`zones`](Self::zones), including those of a zone with
    /// itself, for all of `traffic` and both versions of IP.
    pub fn table(&self, traffic: &[Traffic]) -> Table {
        self.table_between(&self.zones(), traffic)
    }

    /// The same for pairs of `zones`.
    pub fn table_between(&self, zones: &[Zone], traffic: &[Traffic]) -> Table {
        let mut table = Table::new();
        for &from in zones {
            for &to in zones {
                for &traffic in traffic {
                    for version in Version::BOTH {
                        let at = self.reaches(from, to, traffic, version);
                        table.insert((from, to, traffic, version), at);
                    }
                }
            }
        }
        table
    }
}

/// The result of a probe in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    At(Zone),
    /// It is dropped.
    Dropped,
    /// The table does not have the probe.
    NotAsked,
}

/// A probe with different results in two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub probe: Probe,
    pub expected: Outcome,
    pub found: Outcome,
}

/// All probes with different results, including those that are in one table only.
pub fn compare(expected: &Table, found: &Table) -> Vec<Difference> {
    let outcome = |table: &Table, probe: &Probe| match table.get(probe) {
        Some(Some(zone)) => Outcome::At(*zone),
        Some(None) => Outcome::Dropped,
        None => Outcome::NotAsked,
    };
    let probes: BTreeSet<&Probe> = expected.keys().chain(found.keys()).collect();
    let both = probes.into_iter().map(|probe| Difference {
        probe: *probe,
        expected: outcome(expected, probe),
        found: outcome(found, probe),
    });
    both.filter(|difference| difference.expected != difference.found).collect()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(zone) => write!(f, "comes out at {zone}"),
            Self::Dropped => f.write_str("is dropped"),
            Self::NotAsked => f.write_str("was not asked"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { probe: (from, to, traffic, version), expected, found } = self;
        write!(f, "{traffic} of {version} from {from} to {to} {found}; by the file it {expected}")
    }
}
