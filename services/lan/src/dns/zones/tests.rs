use hickory_proto::rr::RecordType;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::upstream_path::UpstreamPath;
use super::*;

fn unit(name: &str) -> UnitName {
    name.parse().unwrap()
}

fn names(list: &[&str]) -> Vec<(String, Vec<IpAddr>)> {
    list.iter().map(|name| ((*name).to_owned(), vec!["10.20.3.2".parse().unwrap()])).collect()
}

fn has(zones: &Zones, name: &str) -> bool {
    let question =
        DnsQuestion { name: name.parse().unwrap(), kind: RecordType::A, path: UpstreamPath::Own };
    zones.answer(&question).is_some_and(|answer| answer.records.len() == 1)
}

#[test]
fn a_unit_has_its_own_name_and_those_below() {
    let mut zones = Zones::default();
    zones.register(&unit("cache"), &names(&["cache.octet", "a.b.Cache.octet."])).unwrap();
    assert!(has(&zones, "cache.octet.") && has(&zones, "A.b.cache.octet."));
    for other in ["gate.octet", "octet", "xcache.octet", "cache.internal", "cache", "cache.octet.x"]
    {
        let refused = zones.register(&unit("cache"), &names(&["cache.octet", other]));
        assert!(matches!(refused, Err(RegisterError::NotItsOwn { .. })), "{other}: {refused:?}");
    }
    let refused = zones.register(&unit("cache"), &names(&["*.cache.octet"]));
    assert!(matches!(refused, Err(RegisterError::Invalid(_))));
    // A unit whose registration is refused keeps its names.
    assert!(has(&zones, "cache.octet.") && has(&zones, "a.b.cache.octet."));
}

#[test]
fn names_are_replaced_and_given_back() {
    let mut zones = Zones::default();
    zones.register(&unit("cache"), &names(&["cache.octet", "old.cache.octet"])).unwrap();
    zones.register(&unit("gate"), &names(&["gate.octet"])).unwrap();
    zones.register(&unit("cache"), &names(&["new.cache.octet"])).unwrap();
    assert!(has(&zones, "new.cache.octet.") && !has(&zones, "old.cache.octet."));
    assert!(!has(&zones, "cache.octet."));
    zones.unregister(&unit("cache"));
    assert!(!has(&zones, "new.cache.octet.") && has(&zones, "gate.octet."));
    zones.unregister(&unit("cache"));
}

#[test]
fn there_is_room_for_so_many() {
    let mut zones = Zones::default();
    let many: Vec<String> = (0..=MAX_OF_ONE).map(|number| format!("n{number}.a.octet")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    zones.register(&unit("a"), &names(&many[1..])).unwrap();
    assert_eq!(zones.register(&unit("a"), &names(&many)), Err(RegisterError::TooMany(65)));
    for number in 1..MAX_UNITS {
        zones.register(&unit(&format!("u{number}")), &[]).unwrap();
    }
    assert_eq!(zones.register(&unit("late"), &[]), Err(RegisterError::NoRoom));
    zones.register(&unit("u1"), &names(&["u1.octet"])).unwrap();
    zones.unregister(&unit("u2"));
    zones.register(&unit("late"), &[]).unwrap();
}

proptest! {
    /// A registration is applied completely or not at all, and never affects other units.
    #[test]
    fn all_or_nothing(asked in vec("[a-c.*-]{0,6}(\\.?cache\\.octet|gate\\.octet)?\\.?", 0..5)) {
        let mut zones = Zones::default();
        zones.register(&unit("cache"), &names(&["before.cache.octet"])).unwrap();
        zones.register(&unit("gate"), &names(&["gate.octet"])).unwrap();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let given = zones.register(&unit("cache"), &names(&asked)).is_ok();
        prop_assert!(has(&zones, "gate.octet."));
        prop_assert_eq!(has(&zones, "before.cache.octet."), !given);
        let of_cache = zones.registered().filter(|it| it.unit.as_str() == "cache");
        for registered in of_cache {
            let wanted = given && asked.iter().any(|it| it.trim_end_matches('.') == registered.name.trim_end_matches('.'));
            prop_assert!(wanted || registered.name == "before.cache.octet.", "{}", registered.name);
            prop_assert!(has(&zones, &registered.name));
        }
    }
}
