//! Kernel modules that somebody names: `appliance.toml`, or a unit that uses them.

use std::ops::Range;

use octet_appliance::{FileError, ModuleName};
use toml::Spanned;

use crate::appliance_file::ApplianceFile;
use crate::tree::{Because, ImageUnits};

/// A module, and who names it.
#[derive(Debug, Clone)]
pub struct NamedModule {
    pub name: String,
    /// Why it is in the image.
    pub because: Because,
    pub load_time: LoadTime,
    file: String,
    text: String,
    at: Range<usize>,
}

/// When a module is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadTime {
    /// At every start, before the base units that name it.
    First,
    Later,
    /// At every start of a router, before base units.
    OnRouter,
    OnDemand,
}

impl NamedModule {
    /// Every module that an image is to have, those that are loaded first.
    pub fn all(appliance: &ApplianceFile, units: &ImageUnits) -> Vec<Self> {
        let image = &appliance.appliance.image;
        let in_appliance = |key: &str, load_time: LoadTime, name: &Spanned<ModuleName>| Self {
            name: name.get_ref().canonical(),
            because: appliance.because(&name.span(), key, name.get_ref().as_str()),
            load_time,
            file: appliance.file.clone(),
            text: appliance.text.clone(),
            at: name.span(),
        };
        let drivers =
            image.drivers.iter().map(|name| in_appliance("drivers", LoadTime::Later, name));
        let of_units = units.all.iter().flat_map(|unit| {
            let load_time = if unit.source.unit.base { LoadTime::First } else { LoadTime::Later };
            let always = unit.source.modules().map(move |(name, at)| (name, at, load_time));
            let router = unit.source.router_modules();
            let all = always.chain(router.map(|(name, at)| (name, at, LoadTime::OnRouter)));
            all.map(|(name, at, load_time)| Self {
                name: name.canonical(),
                because: unit.because.then(name.as_str()),
                load_time,
                file: unit.source.file.clone(),
                text: unit.source.text.clone(),
                at,
            })
        });
        let further =
            image.modules.iter().map(|name| in_appliance("modules", LoadTime::OnDemand, name));
        drivers.chain(of_units).chain(further).collect()
    }

    /// A mistake at the place that names it.
    pub fn error(&self, message: String, hint: String) -> Box<FileError> {
        FileError::new(&self.file, &self.text, self.at.clone(), message, hint)
    }
}
