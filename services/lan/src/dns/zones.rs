//! Names that services have registered below `octet.`, each below the service's own name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hickory_proto::rr::Name;
use octet_node::address::ZONE;
use octet_node::control::UnitName;
use serde::Serialize;

use super::answer::CachedAnswer;
use super::box_zone::{InvalidZone, ZoneNames, host_name};
use super::query::DnsQuestion;

/// The maximum number of names per unit.
pub const MAX_OF_ONE: usize = 64;

/// The maximum number of units with names.
pub const MAX_UNITS: usize = 64;

#[derive(Debug, Default)]
pub struct Zones {
    of_units: BTreeMap<UnitName, Vec<Name>>,
    names: ZoneNames,
}

/// A registered name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registered {
    pub unit: UnitName,
    pub name: String,
    pub addresses: Vec<IpAddr>,
}

/// Why a registration is refused. The unit keeps its previous names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A name is not below the unit's own.
    #[error("`{name}` is not the unit's: it may have `{unit}.octet` and names below that")]
    NotItsOwn { unit: UnitName, name: String },
    #[error("{0} names are too many: a unit has {MAX_OF_ONE} at most, leave some out")]
    TooMany(usize),
    /// The maximum number of units is reached.
    #[error("{MAX_UNITS} units have names already: one of them has to give its names back first")]
    NoRoom,
    #[error(transparent)]
    Invalid(#[from] InvalidZone),
}

impl Zones {
    /// Replaces the names of `unit`.
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
            probe.insert(name.clone(), addresses)?;
            checked.push((name, addresses));
        }
        self.unregister(unit);
        for (name, addresses) in &checked {
            self.names.insert(name.clone(), addresses)?;
        }
        self.of_units.insert(unit.clone(), checked.into_iter().map(|(name, _)| name).collect());
        Ok(())
    }

    /// Removes the names of `unit`.
    pub fn unregister(&mut self, unit: &UnitName) {
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

    /// The answer from registered names; `None` if there is none.
    pub fn answer(&self, question: &DnsQuestion) -> Option<CachedAnswer> {
        // The zone is the last label of the name.
        let zone = question.name.trim_to(1);
        self.names.answer(question, &zone)
    }
}

#[cfg(test)]
mod tests;
