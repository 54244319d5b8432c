//! Chooses the configuration at the start.

use crate::settings::Settings;
use crate::store::{ConfigStore, Folder};

/// The chosen configuration, and the skipped ones.
#[derive(Debug)]
pub struct ChosenConfig {
    /// The number of the active copy; 0 is the image's configuration.
    pub sequence: u64,
    pub settings: Settings,
    /// Newer copies that cannot be used, with the reasons.
    pub skipped: Vec<String>,
}

/// The newest confirmed copy of `store` that this version can use; otherwise the image's
/// configuration, whose text `shipped` returns.
pub fn choose<F: Folder>(
    store: &ConfigStore<F>,
    image: impl FnOnce() -> Result<Settings, String>,
    shipped: impl Fn() -> String,
) -> Result<ChosenConfig, String> {
    let mut skipped = vec![];
    for sequence in store.confirmed() {
        let settings = store.read(sequence).and_then(|copy| Settings::of(copy, &shipped));
        match settings {
            Ok(settings) => return Ok(ChosenConfig { sequence, settings, skipped }),
            Err(why) => skipped.push(format!("configuration {sequence} cannot be used: {why}")),
        }
    }
    Ok(ChosenConfig { sequence: 0, settings: image()?, skipped })
}
