//! Names that services have registered below `octet.`, each below its own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hickory_proto::rr::Name;
use octet_node::address::ZONE;
use octet_node::control::UnitName;
use serde::Serialize;

use super::answer::CachedAnswer;
use super::own::{InvalidZone, ZoneNames, host_name};
use super::query::DnsQuestion;

/// Names that one unit has at most.
pub const MAX_OF_ONE: usize = 64;

/// Units that have names at most.
pub const MAX_UNITS: usize = 64;

#[derive(Debug, Default)]
pub struct Zones {
    of_units: BTreeMap<UnitName, Vec<Name>>,
    names: ZoneNames,
}

/// A name that a service has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registered {
    pub unit: UnitName,
    pub name: String,
    /// What the name leads to.
    pub addresses: Vec<IpAddr>,
}

/// Why a unit does not get its names. It keeps those that it had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// One is not the unit's.
    #[error("`{name}` is not the unit's: it may have `{unit}.octet` and names below that")]
    NotItsOwn { unit: UnitName, name: String },
    #[error("{0} names are too many: a unit has {MAX_OF_ONE} at most, leave some out")]
    TooMany(usize),
    /// Other units have taken all room.
    #[error("{MAX_UNITS} units have names already: one of them has to give its names back first")]
    NoRoom,
    #[error(transparent)]
    Invalid(#[from] InvalidZone),
}

impl Zones {
    /// Gives `unit` these names, each with its addresses, instead of those that it has.
    pub fn register(
        &mut self,
        unit: &UnitName,
        names: &[(String, Vec<IpAddr>)],
    ) -> Result<(), RegisterError> {
        if names.len() > MAX_OF_ONE {
            return Err(RegisterError::TooMany(names.len()));
        }
        if !self.of_units.contains_key(unit) && self.of_units.len() >= MAX_UNITS {
            return Err(RegisterError::NoRoom);
        }
        let top = host_name(&format!("{unit}.{ZONE}"))?;
        let mut checked = Vec::with_capacity(names.len());
        let mut probe = ZoneNames::default();
        for (text, addresses) in names {
            let name = host_name(text)?;
            if !top.zone_of(&name) {
                return Err(RegisterError::NotItsOwn { unit: unit.clone(), name: text.clone() });
            }
            probe.put(name.clone(), addresses)?;
            checked.push((name, addresses));
        }
        self.forget(unit);
        for (name, addresses) in &checked {
            self.names.put(name.clone(), addresses)?;
        }
        self.of_units.insert(unit.clone(), checked.into_iter().map(|(name, _)| name).collect());
        Ok(())
    }

    /// Takes back what `unit` has.
    pub fn forget(&mut self, unit: &UnitName) {
        for name in self.of_units.remove(unit).unwrap_or_default() {
            self.names.remove(&name);
        }
    }

    pub fn registered(&self) -> impl Iterator<Item = Registered> {
        let names =
            self.of_units.iter().flat_map(|(unit, names)| names.iter().map(move |it| (unit, it)));
        names.map(|(unit, name)| Registered {
            unit: unit.clone(),
            name: name.to_ascii(),
            addresses: self.names.get(name).to_vec(),
        })
    }

    /// What services say; `None` if nothing.
    pub fn answer(&self, question: &DnsQuestion) -> Option<CachedAnswer> {
        // The name of the zone itself is its last label, whoever is in it.
        let zone = question.name.trim_to(1);
        self.names.answer(question, &zone)
    }
}

#[cfg(test)]
mod tests;
