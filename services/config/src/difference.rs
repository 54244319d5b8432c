//! The differences between two configurations.

use std::collections::BTreeSet;

use octet_appliance::{Cluster, Enrol, RouterKind, SettingsSection};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A changed value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueDifference {
    /// Its path: `operator.keys.1.name`. Lists count from 1, as in `netd explain`.
    pub key: String,
    /// The old value, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// The new value, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// All differences between `old` and `new`, in the order of the sections.
pub fn differences(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<ValueDifference> {
    let mut found = vec![];
    let (old, new) = (Value::Object(old.clone()), Value::Object(new.clone()));
    collect(String::new(), Some(&old), Some(&new), &mut found);
    found
}

/// The changed sections.
pub fn changed(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<SettingsSection> {
    let differs = |section: &SettingsSection| old.get(section.name()) != new.get(section.name());
    SettingsSection::ALL.into_iter().filter(differs).collect()
}

/// The changed sections in which a value differs that only an owner may change: operators'
/// capabilities, trusted keys, boards' keys, and the coordinator.
pub fn changed_of_owners(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Vec<SettingsSection> {
    let whole = |section: &SettingsSection| section.requires_own();
    let part = |section: &SettingsSection| match section {
        SettingsSection::Cluster => enrol(old) != enrol(new) || router(old) != router(new),
        SettingsSection::Board => keys(old) != keys(new) || manager(old) != manager(new),
        _ => false,
    };
    changed(old, new).into_iter().filter(|section| whole(section) || part(section)).collect()
}

/// The enrolment policy; a box without boards will use trust on first use.
fn enrol(settings: &Map<String, Value>) -> Enrol {
    let cluster = settings.get(SettingsSection::Cluster.name()).and_then(|it| it.get("enrol"));
    cluster.and_then(|enrol| Enrol::deserialize(enrol).ok()).unwrap_or_default()
}

/// The kind of router: Octet's own is the coordinator.
fn router(settings: &Map<String, Value>) -> RouterKind {
    let cluster = settings.get(SettingsSection::Cluster.name()).and_then(|it| it.get("router"));
    cluster.and_then(|router| RouterKind::deserialize(router).ok()).unwrap_or_default()
}

/// The board that is the coordinator, if the router is not.
fn manager(settings: &Map<String, Value>) -> Option<u8> {
    let cluster = Cluster::deserialize(settings.get(SettingsSection::Cluster.name())?).ok()?;
    let boards = Vec::deserialize(settings.get(SettingsSection::Board.name())?).ok()?;
    cluster.manager(&boards)
}

/// The configured keys, with their boards.
fn keys(settings: &Map<String, Value>) -> BTreeSet<(Option<u64>, Option<&str>)> {
    let boards = settings.get(SettingsSection::Board.name()).and_then(Value::as_array);
    let named = boards.into_iter().flatten().filter(|board| board.get("key").is_some());
    named.map(|board| (board["number"].as_u64(), board["key"].as_str())).collect()
}

fn collect(
    key: String,
    old: Option<&Value>,
    new: Option<&Value>,
    found: &mut Vec<ValueDifference>,
) {
    if old == new {
        return;
    }
    let inside = |name: &str| match key.as_str() {
        "" => name.to_owned(),
        key => format!("{key}.{name}"),
    };
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (name, value) in old {
                collect(inside(name), Some(value), new.get(name), found);
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                collect(inside(name), None, Some(value), found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                collect(inside(&(index + 1).to_string()), old.get(index), new.get(index), found);
            }
        }
        _ => found.push(ValueDifference { key, old: old.cloned(), new: new.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn names_what_is_different() {
        let old = map(json!({ "appliance": { "name": "a" }, "operator": { "keys": [1, 2] } }));
        let new = map(json!({ "appliance": { "name": "b" }, "operator": { "keys": [1] } }));
        let found = differences(&old, &new);
        let keys: Vec<&str> = found.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(keys, ["appliance.name", "operator.keys.2"]);
        assert_eq!((found[0].old.clone(), found[1].new.clone()), (Some(json!("a")), None));
        assert_eq!(changed(&old, &new), [SettingsSection::Appliance, SettingsSection::Operator]);
        let same = map(json!({ "operator": { "keys": [1, 2] }, "appliance": { "name": "b" } }));
        assert_eq!(changed(&old, &same), [SettingsSection::Appliance]);
        assert!(differences(&old, &old).is_empty() && changed(&old, &old).is_empty());
    }

    #[test]
    fn enrolment_is_an_owners() {
        let boards = |enrol: &str, board: Value| {
            map(json!({"cluster": {"boards": 4, "enrol": enrol}, "board": board}))
        };
        let one = boards("approve", json!([{"number": 1, "key": "a"}, {"number": 2}]));
        let none: &[SettingsSection] = &[];
        for (enrol, board, owned) in [
            ("approve", json!([{"number": 1, "key": "a", "role": "x"}, {"number": 3}]), none),
            (
                "first-use",
                json!([{"number": 1, "key": "a"}, {"number": 2}]),
                &[SettingsSection::Cluster],
            ),
            ("approve", json!([{"number": 1}, {"number": 2}]), &[SettingsSection::Board]),
            (
                "approve",
                json!([{"number": 1}, {"number": 2, "key": "a"}]),
                &[SettingsSection::Board],
            ),
            (
                "approve",
                json!([{"number": 1, "key": "b"}, {"number": 2}]),
                &[SettingsSection::Board],
            ),
        ] {
            let other = boards(enrol, board);
            assert_eq!(changed_of_owners(&one, &other), owned, "{other:?}");
            assert_eq!(changed_of_owners(&other, &one), owned, "{other:?}");
        }
        // The coordinator.
        let held = |router: &str, manager: u8| {
            let board = json!([{"number": manager, "role": "manager"}]);
            map(json!({"cluster": {"boards": 4, "router": router}, "board": board}))
        };
        let openwrt = held("openwrt", 1);
        assert_eq!(changed_of_owners(&openwrt, &held("openwrt", 2)), [SettingsSection::Board]);
        let ours = map(json!({"cluster": {"boards": 4}, "board": [{"number": 1, "role": "x"}]}));
        assert_eq!(
            changed_of_owners(&ours, &openwrt),
            [SettingsSection::Cluster, SettingsSection::Board]
        );
        let alone = map(json!({"cluster": null, "board": []}));
        assert_eq!(changed_of_owners(&alone, &boards("first-use", json!([]))), none);
        assert_eq!(
            changed_of_owners(&alone, &one),
            [SettingsSection::Cluster, SettingsSection::Board]
        );
        let operators = map(json!({"operator": {"keys": [1]}, "appliance": {"name": "a"}}));
        assert_eq!(changed_of_owners(&map(json!({})), &operators), [SettingsSection::Operator]);
    }

    proptest! {
        /// Exactly the changed values are reported.
        #[test]
        fn one_value_that_is_different(values in prop::collection::vec(0u8..3, 1..6), at: prop::sample::Index) {
            let at = at.index(values.len());
            let mut other = values.clone();
            other[at] += 3;
            let (old, new) = (map(json!({"a": {"b": values}})), map(json!({"a": {"b": other}})));
            let found = differences(&old, &new);
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].key, &format!("a.b.{}", at + 1));
        }
    }
}
