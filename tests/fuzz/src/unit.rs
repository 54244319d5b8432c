//! `unit.toml`.

use octet_appliance::{Unit, UnitSource, start_order};

/// A unit file is refused with a position and a hint, or the unit is the same after it was encoded
/// for PID 1.
pub fn unit(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut source = match UnitSource::parse("unit.toml".into(), text.to_owned()) {
        Ok(source) => source,
        Err(error) => {
            assert!(error.line >= 1 && error.line <= text.lines().count() + 1, "{error}");
            assert!(error.column >= 1 && !error.hint.is_empty(), "{error}");
            return;
        }
    };
    let json = serde_json::to_string(&source.unit).expect("a unit is JSON");
    let back: Unit = serde_json::from_str(&json).expect("PID 1 reads what the builder writes");
    assert_eq!(json, serde_json::to_string(&back).expect("a unit is JSON"));
    let _ = start_order(std::slice::from_ref(&source));
    source.owner_supplied = true;
    if start_order(std::slice::from_ref(&source)).is_ok() {
        assert!((901..=908).contains(&source.unit.user.user().uid), "{text}");
    }
}
