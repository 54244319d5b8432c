use super::*;
use octet_appliance::UnitSource;
use proptest::prelude::*;

/// `cache` for boards 3 and 4, `web` for board 4, and `plain` and `door` for all.
fn units() -> Vec<Unit> {
    let unit = |(index, (name, boards)): (usize, (&str, &[u8]))| {
        let base = if name == "door" { "base = true\n" } else { "" };
        let user = index + 1;
        let text = format!("name = \"{name}\"\nexec = \"/x\"\nuser = \"extra-{user}\"\n{base}");
        let mut unit = UnitSource::parse("unit.toml".into(), text).unwrap().unit;
        unit.boards = (!boards.is_empty()).then(|| boards.to_vec());
        unit
    };
    let all: [(&str, &[u8]); 4] =
        [("cache", &[3, 4]), ("web", &[4]), ("plain", &[]), ("door", &[])];
    all.into_iter().enumerate().map(unit).collect()
}

const CACHE: UnitId = UnitId(0);
const WEB: UnitId = UnitId(1);
const PLAIN: UnitId = UnitId(2);

fn hold(unit: UnitId, why: &str) -> SupervisorEvent {
    SupervisorEvent::Hold(unit, why.into())
}

#[test]
fn a_unit_runs_where_it_is_placed() {
    for (board, cache, web) in [
        (None, Some(NUMBER_UNKNOWN), Some(NUMBER_UNKNOWN)),
        (Some(3), None, Some("is for board 4")),
        (Some(4), None, None),
        (Some(5), Some("is for boards 3, 4"), Some("is for board 4")),
        (Some(0), Some("is for boards 3, 4"), Some("is for board 4")),
    ] {
        let placement = BoardPlacement::new(&units(), board);
        assert_eq!((placement.held(CACHE), placement.held(WEB)), (cache, web), "{board:?}");
        assert_eq!(placement.held(PLAIN), None);
    }
}

#[test]
fn it_follows_the_number() {
    let mut placement = BoardPlacement::new(&units(), None);
    assert_eq!(placement.reconcile(None), []);
    assert_eq!(
        placement.reconcile(Some(3)),
        [hold(WEB, "is for board 4"), SupervisorEvent::Release(CACHE)]
    );
    assert_eq!(placement.reconcile(Some(3)), []);
    assert_eq!(placement.reconcile(Some(4)), [SupervisorEvent::Release(WEB)]);
    let away = [hold(WEB, "is for board 4"), hold(CACHE, "is for boards 3, 4")];
    assert_eq!(placement.reconcile(Some(5)), away, "the last in start order first");
}

#[test]
fn what_it_is_told_ranks_above_the_list() {
    let mut placement = BoardPlacement::new(&units(), Some(3));
    placement.assign("web", None).unwrap();
    assert_eq!(
        placement.reconcile(Some(3)),
        [hold(CACHE, ELSEWHERE), SupervisorEvent::Release(WEB)]
    );
    placement.assign("", None).unwrap();
    assert_eq!(placement.reconcile(Some(4)), [hold(WEB, ELSEWHERE)]);
    placement.assign(" cache , web,", None).unwrap();
    assert_eq!(
        placement.reconcile(None),
        [SupervisorEvent::Release(CACHE), SupervisorEvent::Release(WEB)]
    );
    // Other units than those of the list, and none.
    placement.assign("", Some("plain")).unwrap();
    assert_eq!(placement.reconcile(None), [hold(PLAIN, ELSEWHERE)]);
    placement.assign("", Some("")).unwrap();
    assert_eq!(placement.reconcile(None), [SupervisorEvent::Release(PLAIN)]);
}

#[test]
fn only_units_that_can_be_meant() {
    let mut placement = BoardPlacement::new(&units(), Some(3));
    for (here, placed, words) in [
        ("cahce", None, "there is no unit `cahce`"),
        ("plain", None, "`plain` is not one of some boards"),
        ("web", Some("cache"), "`web` is not one of some boards"),
        ("", Some("cache,door"), "`door` is a base unit"),
    ] {
        let failure = placement.assign(here, placed).unwrap_err();
        assert!(failure.message.contains(words), "{here}: {}", failure.message);
        assert_eq!(placement.reconcile(Some(3)), [], "{here}");
    }
}

/// A list as somebody may write it.
fn list() -> impl Strategy<Value = String> {
    const NAMES: [&str; 7] = ["cache", "web", "plain", "door", "gone", "", " "];
    let names = prop::collection::vec(prop::sample::select(&NAMES[..]), 0..4);
    prop_oneof![3 => names.prop_map(|names| names.join(",")), 1 => "\\PC{0,20}"]
}

proptest! {
    /// Whatever is requested, the core receives every change once: first units to hold. A rejected
    /// request changes nothing, and units that must run everywhere are never held.
    #[test]
    fn the_core_knows_what_is_held(
        steps in prop::collection::vec(
            (prop::option::of(0u8..6), prop::option::of((list(), prop::option::of(list())))),
            0..12,
        ),
    ) {
        let mut placement = BoardPlacement::new(&units(), None);
        let mut core: Vec<_> = (0..4).map(|id| placement.held(UnitId(id)).is_some()).collect();
        for (board, told) in steps {
            if let Some((here, of)) = told {
                let before = placement.clone();
                if placement.assign(&here, of.as_deref()).is_err() {
                    prop_assert_eq!(placement.clone().reconcile(board), before.clone().reconcile(board));
                }
            }
            let events = placement.reconcile(board);
            prop_assert!(events.is_sorted_by_key(|event| matches!(event, SupervisorEvent::Release(_))));
            for event in events {
                match event {
                    SupervisorEvent::Hold(id, _) => core[id.0] = true,
                    SupervisorEvent::Release(id) => prop_assert!(std::mem::take(&mut core[id.0])),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            for (id, held) in core.iter().enumerate() {
                prop_assert_eq!(placement.held(UnitId(id)).is_some(), *held);
            }
            prop_assert!(!core[3], "a base unit is held");
        }
    }
}
