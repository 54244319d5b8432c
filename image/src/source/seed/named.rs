//! Kernel modules that somebody names: `appliance.toml`, or a unit that uses them.

use std::ops::Range;

use octet_appliance::{FileError, ModuleName};
use toml::Spanned;

use crate::appliance_file::ApplianceFile;
use crate::tree::{Because, Units};

/// A module, and who names it.
#[derive(Debug, Clone)]
pub struct NamedModule {
    /// The kernel's spelling.
    pub name: String,
    /// Why it is in the image.
    pub because: Because,
    /// Whether it is loaded at every start.
    pub loaded: bool,
    file: String,
    text: String,
    at: Range<usize>,
}

impl NamedModule {
    /// Every module that an image is to have, those that are loaded first.
    pub fn all(appliance: &ApplianceFile, units: &Units) -> Vec<Self> {
        let image = &appliance.appliance.image;
        let in_appliance = |key: &str, loaded: bool, name: &Spanned<ModuleName>| Self {
            name: name.get_ref().canonical(),
            because: appliance.because(&name.span(), key, name.get_ref().as_str()),
            loaded,
            file: appliance.file.clone(),
            text: appliance.text.clone(),
            at: name.span(),
        };
        let drivers = image.drivers.iter().map(|name| in_appliance("drivers", true, name));
        let of_units = units.all.iter().flat_map(|unit| {
            unit.source.modules().map(|(name, at)| Self {
                name: name.canonical(),
                because: unit.because.then(name.as_str()),
                loaded: true,
                file: unit.source.file.clone(),
                text: unit.source.text.clone(),
                at,
            })
        });
        let further = image.modules.iter().map(|name| in_appliance("modules", false, name));
        drivers.chain(of_units).chain(further).collect()
    }

    /// A mistake at the place that names it.
    pub fn error(&self, message: String, hint: String) -> Box<FileError> {
        FileError::new(&self.file, &self.text, self.at.clone(), message, hint)
    }
}
