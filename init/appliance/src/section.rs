//! The sections of `appliance.toml`, and which of them a box can be given anew while it runs.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::document::span_of;
use crate::file_error::FileError;

/// A section that a box can be given anew while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SettingsSection {
    /// The appliance's name.
    Appliance,
    /// The uplink: addresses, gateway, DNS and time servers.
    Network,
    /// Keys and permissions of operators.
    Operator,
    /// Keys whose updates are accepted.
    Trust,
    /// The boards and the router.
    Cluster,
    /// Settings of single boards.
    Board,
    /// The port for the owner's own devices.
    Lan,
    /// The flows that are allowed between zones.
    Policy,
    /// Ports of boards that are reachable from the uplink.
    Publish,
    /// Links to nodes of other boxes.
    Neighbour,
    /// The exit node of the owner's devices.
    Vpn,
    /// The quota of the object cache.
    Cache,
    /// The OLED display of each node that has one.
    Display,
    /// Receipts for the bytes of paths and of objects.
    Accounts,
    /// The ledger between owners.
    Ledger,
    /// Web origins of which nodes keep copies.
    Origin,
    /// Objects of which several boards have a copy.
    Keep,
}

impl SettingsSection {
    pub const ALL: [Self; 17] = [
        Self::Appliance,
        Self::Network,
        Self::Operator,
        Self::Trust,
        Self::Cluster,
        Self::Board,
        Self::Lan,
        Self::Policy,
        Self::Publish,
        Self::Neighbour,
        Self::Vpn,
        Self::Cache,
        Self::Display,
        Self::Accounts,
        Self::Ledger,
        Self::Origin,
        Self::Keep,
    ];

    /// Its name, as the file has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Appliance => "appliance",
            Self::Network => "network",
            Self::Operator => "operator",
            Self::Trust => "trust",
            Self::Cluster => "cluster",
            Self::Board => "board",
            Self::Lan => "lan",
            Self::Policy => "policy",
            Self::Publish => "publish",
            Self::Neighbour => "neighbour",
            Self::Vpn => "vpn",
            Self::Cache => "cache",
            Self::Display => "display",
            Self::Accounts => "accounts",
            Self::Ledger => "ledger",
            Self::Origin => "origin",
            Self::Keep => "keep",
        }
    }

    /// The section of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|section| section.name() == name)
    }

    /// Whether it says who may do what, or whom the box believes: only who owns the box may change
    /// that.
    pub const fn requires_own(self) -> bool {
        match self {
            Self::Appliance
            | Self::Network
            | Self::Cluster
            | Self::Board
            | Self::Lan
            | Self::Policy
            | Self::Publish
            | Self::Neighbour
            | Self::Vpn
            | Self::Cache
            | Self::Display
            | Self::Accounts
            | Self::Ledger
            | Self::Origin
            | Self::Keep => false,
            Self::Operator | Self::Trust => true,
        }
    }
}

impl fmt::Display for SettingsSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sections that only a build can use. `[health]` is one: what it says becomes a part of the slot.
const BUILD_SECTIONS: [&str; 3] = ["image", "service", "health"];

/// Refuses `text`, the content of `file`, where it says something else than `shipped`, the text that
/// the image was built from, about what only a build can use. What it does not say stays as it is.
pub(crate) fn check_build_sections(
    file: &str,
    text: &str,
    shipped: &str,
) -> Result<(), Box<FileError>> {
    let parse = |text| toml::from_str::<toml::Table>(text).unwrap_or_default();
    let (sections, built) = (parse(text), parse(shipped));
    for section in BUILD_SECTIONS {
        let Some(value) = sections.get(section) else { continue };
        if let Some(rest) = difference(value, built.get(section)) {
            let all: Vec<&str> =
                [section].into_iter().chain(rest.iter().map(String::as_str)).collect();
            let at: Range<usize> = span_of(text, &all);
            let message = format!(
                "only a build can use `{}`, and this is not what this image was built from",
                all.join(".")
            );
            let hint = "leave the line as it was, or build an image with it and install that";
            return Err(FileError::new(file, text, at, message, hint));
        }
    }
    Ok(())
}

/// The keys that lead to the first place where `new` differs from `old`.
fn difference(new: &toml::Value, old: Option<&toml::Value>) -> Option<Vec<String>> {
    match (new, old) {
        (new, Some(old)) if new == old => None,
        (toml::Value::Table(new), Some(toml::Value::Table(old))) => {
            let changed = new.iter().find_map(|(key, value)| {
                let mut rest = difference(value, old.get(key))?;
                rest.insert(0, key.clone());
                Some(rest)
            });
            // Otherwise something of the old is left out, and so said to be gone.
            Some(changed.unwrap_or_default())
        }
        _ => Some(vec![]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Appliance;

    const SHIPPED: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = [\"musl\"]\n\
                           drivers = []\nmodules = []\nservices = [\"console\"]\n\
                           [[service]]\npath = \"a\"\nunit = \"a.toml\"\n";

    /// Nothing of the file is forgotten when a section is added to it.
    #[test]
    fn every_section_is_listed() {
        let appliance = Appliance::parse("appliance.toml", SHIPPED).unwrap();
        let json = serde_json::to_value(appliance).unwrap();
        let mut said: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = SettingsSection::ALL.map(SettingsSection::name);
        said.sort_unstable();
        known.sort_unstable();
        assert_eq!(said, known);
        for section in SettingsSection::ALL {
            assert_eq!(SettingsSection::from_name(section.name()), Some(section));
            assert_eq!(serde_json::to_value(section).unwrap(), section.name());
        }
        assert_eq!(SettingsSection::from_name("image"), None);
    }

    #[test]
    fn what_only_a_build_can_use_stays() {
        let at_run_time = |text: &str| Appliance::parse_at_run_time("new.toml", text, SHIPPED);
        assert!(at_run_time(SHIPPED).is_ok());
        assert!(at_run_time("[appliance]\nname = \"box\"\n").is_ok());
        let spaced = SHIPPED.replace("[\"musl\"]", "[ \"musl\", ] # as it was");
        assert!(at_run_time(&spaced).is_ok());
        for (from, to, line) in [
            ("[\"musl\"]", "[\"musl\", \"busybox\"]", 4),
            ("[\"console\"]", "[]", 7),
            ("path = \"a\"", "path = \"b\"", 8),
        ] {
            let error = at_run_time(&SHIPPED.replace(from, to)).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.message.contains("only a build"), "{error}");
            assert!(error.hint.contains("build an image"), "{}", error.hint);
        }
        let health = format!("{SHIPPED}[health]\nwithin = \"7m\"\n");
        let error = at_run_time(&health).unwrap_err();
        assert!(error.line == 11 && error.message.contains("`health`"), "{error}");
        let other = format!("{SHIPPED}[[service]]\npath = \"b\"\nunit = \"b.toml\"\n");
        assert!(at_run_time(&other).unwrap_err().message.contains("`service`"));
        // A mistake is a mistake at any time.
        assert_eq!(at_run_time("[appliance]\nname = 7\n").unwrap_err().line, 2);
    }
}
