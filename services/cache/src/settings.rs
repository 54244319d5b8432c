//! The sections of `appliance.toml` for this unit.

use std::path::Path;

use octet_appliance::{ApplianceSection, Bytes, ObjectSettings, OriginSection};
use octet_node::settings::{Settings, Which};
use octet_node::{SettingsError, own_number, say};

use crate::origin::OriginFront;

/// The number of the router.
const ROUTER: u8 = 0;

pub struct CacheSettings {
    /// The quota of objects in bytes; `None` if it is not set.
    pub quota: Option<u64>,
    appliance: ApplianceSection,
    origins: Vec<OriginSection>,
}

impl CacheSettings {
    /// Reads them from `config`, which listens in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or a section is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, SettingsError> {
        let settings = Settings::read(sockets, which)?;
        let objects: ObjectSettings = settings.section("cache")?;
        Ok(Self {
            quota: objects.quota.map(Bytes::get),
            appliance: settings.section("appliance")?,
            origins: settings.list("origin")?,
        })
    }

    /// Has `front` serve the origins whose front this node is.
    pub fn apply_origins(&self, sockets: &Path, front: &OriginFront) {
        let name = self.appliance.name.to_string();
        if self.origins.is_empty() {
            return front.set_origins(&name, &[], None);
        }
        match own_number(sockets) {
            Ok(number) => {
                let own = number.filter(|number| *number != ROUTER);
                front.set_origins(&name, &self.origins, own);
            }
            Err(error) => {
                say!("no origin is served: it is not known which board this is: {error}");
                front.set_origins(&name, &[], None);
            }
        }
    }
}
