//! The unit file agrees with those of the other units, which do without it.

use std::fs;
use std::path::Path;

use octet_appliance::{UnitSource, start_order};

#[test]
fn images_may_have_it_or_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let services = fs::read_dir(root.join("services")).unwrap();
    let mut files: Vec<_> = services.map(|it| it.unwrap().path().join("unit.toml")).collect();
    files.push(root.join("netd/unit.toml"));
    for name in ["data", "first-modules", "modules", "port", "slot"] {
        files.push(root.join(format!("init/{name}.unit.toml")));
    }
    let units: Vec<UnitSource> = files
        .iter()
        .filter(|file| file.exists())
        .map(|file| {
            let text = fs::read_to_string(file).unwrap();
            UnitSource::parse(file.display().to_string(), text).unwrap()
        })
        .collect();
    assert!(start_order(&units).is_ok(), "{}", start_order(&units).unwrap_err());
    let (own, others): (Vec<_>, Vec<_>) =
        units.into_iter().partition(|source| source.unit.name.to_string() == "origin");
    assert_eq!((own.len(), start_order(&others).is_ok()), (1, true));
    // Nobody from elsewhere reaches it.
    assert!(own[0].unit.ports.is_empty() && !own[0].unit.state);
}
