//! `appliance.toml`: the configuration of an appliance.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::accounts::AccountsSection;
use crate::cluster::{Board, Cluster, Lan};
use crate::display::DisplaySection;
use crate::document::{parse, span_of, top_keys};
use crate::file_error::FileError;
use crate::keep::{self, KeepSection};
use crate::ledger::LedgerSection;
use crate::name::{ApplianceName, ModuleName, PackageName, UnitName};
use crate::neighbour::{self, Neighbour};
use crate::network::NetworkSettings;
use crate::objects::ObjectSettings;
use crate::operator::Operator;
use crate::origin::{self, OriginSection};
use crate::path::ImagePath;
use crate::policy::{Policy, Publish};
use crate::section::check_build_sections;
use crate::segments::ClusterSettings;
use crate::trust::{HealthSection, Trust};
use crate::vpn::{self, Vpn};

/// The one file a person edits. Its JSON form is what a box knows of it: everything except what
/// only a build can use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Appliance {
    pub appliance: ApplianceSection,
    #[serde(default)]
    pub network: NetworkSettings,
    /// Its boards and its router; without it the box is a single board.
    #[serde(default)]
    pub cluster: Option<Cluster>,
    #[serde(default)]
    pub board: Vec<Board>,
    /// The port for the owner's own devices.
    #[serde(default)]
    pub lan: Option<Lan>,
    /// The allowed flows between zones.
    #[serde(default)]
    pub policy: Vec<Policy>,
    #[serde(default)]
    pub publish: Vec<Publish>,
    /// Nodes of other boxes to which there are links.
    #[serde(default)]
    pub neighbour: Vec<Neighbour>,
    /// The node by which the owner's devices leave; without it, the uplink.
    #[serde(default)]
    pub vpn: Option<Vpn>,
    #[serde(default)]
    pub cache: ObjectSettings,
    /// The OLED display of each node that has one.
    #[serde(default)]
    pub display: Option<DisplaySection>,
    /// Receipts for the bytes of paths and of objects; without it, none.
    #[serde(default)]
    pub accounts: Option<AccountsSection>,
    /// The ledger between owners; without it, none.
    #[serde(default)]
    pub ledger: Option<LedgerSection>,
    /// Web origins of which nodes keep copies.
    #[serde(default)]
    pub origin: Vec<OriginSection>,
    /// Objects of which several boards have a copy.
    #[serde(default)]
    pub keep: Vec<KeepSection>,
    /// The content of its image. Only a build can use this section, and must have it.
    #[serde(default, skip_serializing)]
    pub image: ImageSection,
    /// The operators and their permissions.
    #[serde(default)]
    pub operator: Operator,
    /// The owner's static binaries, added as units.
    #[serde(default, skip_serializing)]
    pub service: Vec<Spanned<Service>>,
    #[serde(default)]
    pub trust: Trust,
    /// When a new slot is good. Only a build can use this section.
    #[serde(default, skip_serializing)]
    pub health: HealthSection,
}

/// `[appliance]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplianceSection {
    /// Its name, and the host name of its nodes.
    pub name: ApplianceName,
}

/// `[image]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSection {
    /// Alpine packages; the libraries that their programs need are added.
    pub packages: Vec<Spanned<PackageName>>,
    /// Paths of programs in the Debian packages that the lock names; the libraries that they need
    /// are added, and nothing else of the packages.
    #[serde(default)]
    pub debian: Vec<Spanned<ImagePath>>,
    /// Kernel modules that are loaded at every start; their dependencies are added.
    pub drivers: Vec<Spanned<ModuleName>>,
    /// Further kernel modules in the image; units that use them name them.
    pub modules: Vec<Spanned<ModuleName>>,
    /// Octet's own services, each a folder of `services/`.
    pub services: Vec<Spanned<UnitName>>,
}

/// `[[service]]`: a static binary with a unit of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Path of the binary; relative to the folder of `appliance.toml`.
    pub path: Spanned<PathBuf>,
    /// Path of its unit file; relative likewise. The binary is installed at the path of the unit's
    /// `exec`.
    pub unit: Spanned<PathBuf>,
}

impl Appliance {
    /// Parses and checks `text`, the content of `file`, for a build.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn parse(file: &str, text: &str) -> Result<Self, Box<FileError>> {
        let appliance: Self = parse(file, text)?;
        if !top_keys(text).iter().any(|(key, _)| key == "image") {
            let message = "the file does not say what the image carries";
            let hint = "add `[image]` with packages, drivers, modules and services";
            return Err(FileError::new(file, text, 0..0, message, hint));
        }
        let image = &appliance.image;
        check_duplicates(file, text, &image.packages, ToString::to_string)?;
        check_duplicates(file, text, &image.debian, ToString::to_string)?;
        check_duplicates(file, text, &image.drivers, ModuleName::canonical)?;
        check_duplicates(file, text, &image.modules, ModuleName::canonical)?;
        check_duplicates(file, text, &image.services, ToString::to_string)?;
        check_duplicates(file, text, &appliance.health.units, ToString::to_string)?;
        appliance.check(file, text)?;
        Ok(appliance)
    }

    /// Parses and checks `text`, the content of `file`, for a box whose image was built from the
    /// text `shipped`. Build-only sections may be left out, and cannot be changed.
    ///
    /// # Errors
    /// The first mistake, with its line and column.
    pub fn parse_at_run_time(
        file: &str,
        text: &str,
        shipped: &str,
    ) -> Result<Self, Box<FileError>> {
        let appliance: Self = parse(file, text)?;
        appliance.check(file, text)?;
        check_build_sections(file, text, shipped)?;
        Ok(appliance)
    }

    /// The settings of a box with a router, if it is one.
    pub fn cluster_settings(&self) -> Option<ClusterSettings> {
        Some(ClusterSettings {
            cluster: self.cluster.clone()?,
            boards: self.board.clone(),
            lan: self.lan.clone(),
            policies: self.policy.clone(),
            publish: self.publish.clone(),
            neighbours: self.neighbour.clone(),
            vpn: self.vpn.clone(),
        })
    }

    /// Checks constraints between the keys of a section that can be changed at run time. Settings
    /// from JSON have no text, and so no positions either.
    pub fn check(&self, file: &str, text: &str) -> Result<(), Box<FileError>> {
        self.operator.check(file, text)?;
        let has_ledger = self.ledger.is_some();
        neighbour::check(&self.neighbour, self.cluster.as_ref(), has_ledger, (file, text))?;
        origin::check(&self.origin, self.cluster.as_ref(), (file, text))?;
        keep::check(&self.keep, self.cluster.as_ref(), (file, text))?;
        let Self { cluster, board, lan, policy, publish, network, vpn, neighbour, .. } = self;
        if let Some(cluster) = cluster {
            cluster.check(board, lan.as_ref(), network, (file, text))?;
            let around = (cluster, lan.as_ref(), &neighbour[..]);
            return vpn.iter().try_for_each(|vpn| vpn::check(vpn, around, (file, text)));
        }
        let without = [
            ("board", !board.is_empty()),
            ("lan", lan.is_some()),
            ("policy", !policy.is_empty()),
            ("publish", !publish.is_empty()),
            ("keep", !self.keep.is_empty()),
            ("vpn", vpn.is_some()),
        ];
        let Some((section, _)) = without.iter().find(|(_, is_there)| *is_there) else {
            return Ok(());
        };
        let message =
            format!("`{section}` is about a box with a router, and there is no [cluster]");
        let hint = "add `[cluster]` with `boards = 4`, 8, 16 or 32";
        Err(FileError::new(file, text, span_of(text, &[section]), message, hint))
    }
}

/// Rejects a list that names the same thing twice.
fn check_duplicates<T>(
    file: &str,
    text: &str,
    list: &[Spanned<T>],
    key: impl Fn(&T) -> String,
) -> Result<(), Box<FileError>> {
    let mut seen = std::collections::HashSet::new();
    for item in list {
        let name = key(item.get_ref());
        if !seen.insert(name.clone()) {
            let message = format!("`{name}` is there twice");
            return Err(FileError::new(file, text, item.span(), message, "remove one of them"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod places;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALL: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = [\"musl\"]\n\
                         drivers = []\nmodules = [\"nft-ct\"]\nservices = [\"console\"]\n";

    #[test]
    fn what_objects_may_take() {
        let read = |line: &str| Appliance::parse("appliance.toml", &format!("{SMALL}{line}"));
        assert_eq!(read("").unwrap().cache, ObjectSettings::default());
        let said = read("[cache]\nquota = \"64G\"\n").unwrap().cache.quota;
        assert_eq!(said.unwrap().get(), 64 << 30);
        let error = read("[cache]\nquota = \"64GB\"\n").unwrap_err();
        assert!(error.line == 9 && error.message.contains("not a size"), "{error}");
    }

    #[test]
    fn parses_three_lines_of_a_service() {
        let text = format!("{SMALL}[[service]]\npath = \"hello\"\nunit = \"hello.toml\"\n");
        let appliance = Appliance::parse("appliance.toml", &text).unwrap();
        assert_eq!(appliance.service[0].get_ref().path.get_ref().to_str(), Some("hello"));
    }

    #[test]
    fn mistakes_are_placed() {
        for (from, to, line) in [
            ("packages", "package", 4),
            ("[\"musl\"]", "7", 4),
            ("[\"musl\"]", "[\"musl\", \"musl\"]", 4),
            ("[\"nft-ct\"]", "[\"nft-ct\", \"nft_ct\"]", 6),
            ("\"octet\"", "\"Octet\"", 2),
            ("[image]", "[image", 3),
            ("[image]", "[images]", 3),
            ("[image]", "[trust]\nupdate_keys = [\"RWxx\"]\n[image]", 4),
            ("[image]", "[health]\nwithin = \"5 minutes\"\n[image]", 4),
            ("[image]", "[health]\nwithin = \"1s\"\n[image]", 4),
            ("[image]", "[health]\nunits = [\"a\", \"a\"]\n[image]", 4),
        ] {
            let error = Appliance::parse("appliance.toml", &SMALL.replace(from, to)).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(!error.hint.is_empty(), "{error}");
        }
    }

    #[test]
    fn a_build_needs_an_image() {
        let error = Appliance::parse("appliance.toml", "[appliance]\nname = \"octet\"\n");
        assert!(error.unwrap_err().hint.contains("[image]"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = Appliance::parse("appliance.toml", &text);
        }

        #[test]
        fn never_panics_near_the_truth(at in 0usize..100, garbage in "\\PC{0,3}") {
            let at = at.min(SMALL.len());
            let text = format!("{}{garbage}{}", &SMALL[..at], &SMALL[at..]);
            let _ = Appliance::parse("appliance.toml", &text);
        }
    }
}
