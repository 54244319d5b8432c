//! What is different between two configurations.

use octet_appliance::Section;
use serde::Serialize;
use serde_json::{Map, Value};

/// One value that is different.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Where it is: `operator.keys.0.name`.
    pub key: String,
    /// What it was, if it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is, if it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// All that is different between `old` and `new`, in the order of the sections.
pub fn differences(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<Difference> {
    let mut found = vec![];
    let (old, new) = (Value::Object(old.clone()), Value::Object(new.clone()));
    collect(String::new(), Some(&old), Some(&new), &mut found);
    found
}

/// The sections that are not the same.
pub fn changed(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<Section> {
    let differs = |section: &Section| old.get(section.name()) != new.get(section.name());
    Section::ALL.into_iter().filter(differs).collect()
}

fn collect(key: String, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
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
                collect(inside(&index.to_string()), old.get(index), new.get(index), found);
            }
        }
        _ => found.push(Difference { key, old: old.cloned(), new: new.cloned() }),
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
        assert_eq!(keys, ["appliance.name", "operator.keys.1"]);
        assert_eq!((found[0].old.clone(), found[1].new.clone()), (Some(json!("a")), None));
        assert_eq!(changed(&old, &new), [Section::Appliance, Section::Operator]);
        let same = map(json!({ "operator": { "keys": [1, 2] }, "appliance": { "name": "b" } }));
        assert_eq!(changed(&old, &same), [Section::Appliance]);
        assert!(differences(&old, &old).is_empty() && changed(&old, &old).is_empty());
    }

    proptest! {
        /// What is different is said to be, and nothing else.
        #[test]
        fn one_value_that_is_different(values in prop::collection::vec(0u8..3, 1..6), at: prop::sample::Index) {
            let at = at.index(values.len());
            let mut other = values.clone();
            other[at] += 3;
            let (old, new) = (map(json!({"a": {"b": values}})), map(json!({"a": {"b": other}})));
            let found = differences(&old, &new);
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].key, &format!("a.b.{at}"));
        }
    }
}
