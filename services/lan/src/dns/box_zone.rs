//! Names of the box: its hosts, and the names that services have registered.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use hickory_proto::rr::Name;

use super::answer::CachedAnswer;
use super::query::DnsQuestion;
use super::reverse::Reverse;

/// The maximum number of names per zone.
pub const MAX_NAMES: usize = 1024;

/// The maximum number of addresses per name.
pub const MAX_ADDRESSES: usize = 16;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneNames(BTreeMap<Name, Vec<IpAddr>>);

/// Why a zone is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidZone {
    #[error(
        "`{0}` is not a name of a host: use letters a-z, digits and hyphens, 63 at most, and dots between them"
    )]
    Name(String),
    #[error("{0} names are too many: {MAX_NAMES} have room, leave some out")]
    Names(usize),
    #[error("`{0}` has {1} addresses: {MAX_ADDRESSES} have room, leave some out")]
    Addresses(String, usize),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoxZone {
    zone: Name,
    hosts: ZoneNames,
    pointers: HashMap<IpAddr, Name>,
}

impl BoxZone {
    /// Creates `zone` with `hosts` and their addresses; host names are relative to the zone.
    ///
    /// # Errors
    /// A name is invalid, or there are too many names or addresses.
    pub fn new(zone: &str, hosts: &BTreeMap<String, Vec<IpAddr>>) -> Result<Self, InvalidZone> {
        if hosts.len() > MAX_NAMES {
            return Err(InvalidZone::Names(hosts.len()));
        }
        let mut own = Self { zone: host_name(zone)?, ..Self::default() };
        for (host, addresses) in hosts {
            let name = host_name(&format!("{host}.{zone}"))?;
            for address in addresses {
                own.pointers.entry(address.to_canonical()).or_insert_with(|| name.clone());
            }
            own.hosts.insert(name, addresses)?;
        }
        Ok(own)
    }

    /// Adds further names of hosts. Addresses are not looked up by these.
    ///
    /// # Errors
    /// A name is invalid, or there are too many names or addresses.
    pub fn add_aliases(
        &mut self,
        zone: &str,
        aliases: &BTreeMap<String, Vec<IpAddr>>,
    ) -> Result<(), InvalidZone> {
        if self.hosts.len() + aliases.len() > MAX_NAMES {
            return Err(InvalidZone::Names(self.hosts.len() + aliases.len()));
        }
        for (alias, addresses) in aliases {
            let name = host_name(&format!("{alias}.{zone}"))?;
            // A host's own name stays.
            if self.hosts.get(&name).is_empty() {
                self.hosts.insert(name, addresses)?;
            }
        }
        Ok(())
    }

    /// The answer from this zone; `None` if it has none.
    pub fn answer(&self, question: &DnsQuestion) -> Option<CachedAnswer> {
        if let Some(reverse) = Reverse::parse(&question.name) {
            let address = reverse.prefix.address().filter(|_| reverse.is_complete)?;
            let name = self.pointers.get(&address)?;
            return Some(CachedAnswer::pointer(question, name.clone(), reverse.zone));
        }
        self.hosts.answer(question, &self.zone)
    }
}

impl ZoneNames {
    pub fn insert(&mut self, name: Name, addresses: &[IpAddr]) -> Result<(), InvalidZone> {
        if addresses.len() > MAX_ADDRESSES {
            return Err(InvalidZone::Addresses(name.to_ascii(), addresses.len()));
        }
        self.0.insert(name, addresses.to_vec());
        Ok(())
    }

    pub fn remove(&mut self, name: &Name) {
        self.0.remove(name);
    }

    /// The addresses of a name; empty if it does not exist.
    pub fn get(&self, name: &Name) -> &[IpAddr] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer from these names of `zone`; `None` if there is none.
    pub fn answer(&self, question: &DnsQuestion, zone: &Name) -> Option<CachedAnswer> {
        // The order of names is that of the tree: names below a name directly follow it.
        let (name, addresses) = self.0.range(&question.name..).next()?;
        if *name == question.name {
            Some(CachedAnswer::addresses(question, addresses, zone.clone()))
        } else {
            question.name.zone_of(name).then(|| CachedAnswer::no_data(zone.clone()))
        }
    }
}

/// Parses a host name (RFC 1123, 2.1).
pub fn host_name(text: &str) -> Result<Name, InvalidZone> {
    let wrong = || InvalidZone::Name(text.to_owned());
    let labels: Vec<&[u8]> = text.trim_end_matches('.').split('.').map(str::as_bytes).collect();
    let may_be = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let is_label = |label: &&[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(may_be)
            && label.first() != Some(&b'-')
            && label.last() != Some(&b'-')
    };
    if !labels.iter().all(is_label) {
        return Err(wrong());
    }
    let mut name = Name::from_labels(labels).map_err(|_| wrong())?.to_lowercase();
    name.set_fqdn(true);
    Ok(name)
}

#[cfg(test)]
mod tests;
