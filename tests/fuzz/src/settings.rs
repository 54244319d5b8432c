//! Settings from an operator, and stored copies of them.

use octet_config::copy::StoredCopy;
use octet_config::settings::{FILE, Settings};
use octet_node::digest::sha256;

/// The image's configuration.
const IMAGE: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = [\"musl\"]\ndrivers = []\n\
                     modules = []\nservices = []\n";

/// Accepted settings are equal as JSON and as text, and a copy decodes to what was stored.
pub fn settings(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(settings) = Settings::parse(FILE, text.to_owned(), IMAGE)
    {
        let json = serde_json::Value::Object(settings.sections.clone());
        let again = Settings::from_checked(text.to_owned(), json);
        let again = again.unwrap_or_else(|problem| panic!("{problem}\n{text}"));
        assert_eq!(again.sections, settings.sections, "{text}");
    }
    copy(bytes);
    // An attacker who modifies a copy also corrects its digest.
    let line = format!("octet-config-1 {}\n", sha256(bytes));
    copy(&[line.as_bytes(), bytes].concat());
}

fn copy(bytes: &[u8]) {
    let Ok(copy) = StoredCopy::from_bytes(bytes) else { return };
    assert_eq!(StoredCopy::from_bytes(&copy.to_bytes()), Ok(copy.clone()));
    if let Ok(settings) = Settings::of(copy, || IMAGE.to_owned()) {
        let json = serde_json::Value::Object(settings.sections.clone());
        assert!(Settings::from_checked(settings.text, json).is_ok());
    }
}
