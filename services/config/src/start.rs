//! Which configuration a start begins with.

use crate::settings::Settings;
use crate::store::{ConfigStore, Folder};

/// What is in force, and what was passed over.
#[derive(Debug)]
pub struct ChosenConfig {
    /// The copy that is in force; 0 is what the image was built with.
    pub sequence: u64,
    pub settings: Settings,
    /// Newer copies that cannot be used, and why.
    pub skipped: Vec<String>,
}

/// The newest confirmed copy of `store` that this version can be run with; what the image was built
/// with if there is none. `shipped` is the text of that.
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
