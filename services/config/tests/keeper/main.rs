//! Changes of settings with power cuts at any step, compared with a simple model of the expected
//! results.

#![cfg(test)]

mod disk;
mod world;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use octet_config::keeper::CommandOutcome;
use proptest::prelude::*;

use world::{IMAGE, World};

/// An action of an operator, or an event.
#[derive(Debug, Clone)]
enum Act {
    Apply { text: u8, seconds: u64, unit: Mood },
    Confirm,
    TakeBack,
    Wait(u64),
    Kill,
}

/// How the unit reacts.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Accepts,
    Refuses,
    Breaks,
}

/// The expected state, computed from the actions alone.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    confirmed: String,
    /// The pending configuration, and the remaining seconds.
    trying: Option<(String, u64)>,
    next: u64,
}

impl Expected {
    fn in_force(&self) -> &str {
        self.trying.as_ref().map_or(&self.confirmed, |(text, _)| text)
    }

    /// The state after `act`.
    fn after(&self, act: &Act) -> Self {
        let mut new = self.clone();
        match act {
            Act::Apply { text, seconds, unit } if self.trying.is_none() => {
                let text = text_of(*text);
                if text != self.confirmed && *unit != Mood::Refuses {
                    new.next += 1;
                    new.trying = (*unit == Mood::Accepts).then_some((text, *seconds));
                }
            }
            Act::Apply { .. } => {}
            Act::Confirm => {
                if let Some((text, _)) = new.trying.take() {
                    new.confirmed = text;
                }
            }
            Act::Wait(seconds) => {
                new.trying =
                    new.trying.and_then(|(text, left)| Some((text, left.checked_sub(*seconds)?)));
                new.trying = new.trying.filter(|(_, left)| *left > 0);
            }
            Act::TakeBack | Act::Kill => new.trying = None,
        }
        new
    }
}

fn text_of(number: u8) -> String {
    format!("[appliance]\nname = \"box-{number}\"\n")
}

fn expected() -> Expected {
    Expected { confirmed: IMAGE.to_owned(), trying: None, next: 1 }
}

/// Performs the action, whether it succeeds or not.
fn act(world: &mut World, act: &Act) {
    match act {
        Act::Apply { text, seconds, unit } => {
            {
                let mut state = world.unit.lock().unwrap();
                state.refuses = *unit == Mood::Refuses;
                state.breaks = *unit == Mood::Breaks;
            }
            let _ = world.apply(&text_of(*text), *seconds);
            let mut state = world.unit.lock().unwrap();
            (state.refuses, state.breaks) = (false, false);
        }
        Act::Confirm => drop(world.confirm()),
        Act::TakeBack => drop(world.take_back()),
        Act::Wait(seconds) => world.wait(*seconds),
        Act::Kill => world.start_again(),
    }
}

fn acts() -> impl Strategy<Value = Act> {
    let mood =
        prop_oneof![4 => Just(Mood::Accepts), 1 => Just(Mood::Refuses), 1 => Just(Mood::Breaks)];
    prop_oneof![
        4 => (0u8..4, 10u64..100, mood).prop_map(|(text, seconds, unit)| Act::Apply { text, seconds, unit }),
        3 => Just(Act::Confirm),
        1 => Just(Act::TakeBack),
        2 => (1u64..80).prop_map(Act::Wait),
        1 => Just(Act::Kill),
    ]
}

fn compare(world: &World, expected: &Expected) {
    assert_eq!(world.in_force(), expected.in_force());
    assert_eq!(world.next_number(), expected.next);
    let unit = world.unit.lock().unwrap();
    assert_eq!(unit.has, expected.in_force(), "the unit has what is in force");
    assert_eq!(unit.surprises, Vec::<String>::new(), "nobody is told what was not accepted");
}

proptest! {
    #[test]
    fn what_is_in_force_is_what_was_confirmed(list in prop::collection::vec(acts(), 1..40)) {
        let (mut world, mut expected) = (World::new(), expected());
        for one in &list {
            act(&mut world, one);
            expected = expected.after(one);
            compare(&world, &expected);
        }
    }

    /// A power cut leaves the old or the new configuration, and that one stays.
    #[test]
    fn a_cut_leaves_old_or_new(
        list in prop::collection::vec(acts(), 1..12), last in acts(), after in 0u64..12, loses: bool,
    ) {
        let (mut world, mut old) = (World::new(), expected());
        for one in &list {
            act(&mut world, one);
            old = old.after(one);
        }
        world.disk.cut(after, loses);
        act(&mut world, &last);
        let cut = world.disk.power();
        world.start_again();
        let (old, new) = (old.after(&Act::Kill), old.after(&last).after(&Act::Kill));
        let is = world.in_force();
        prop_assert!(is == new.in_force() || (cut && is == old.in_force()), "{}", is);
        prop_assert!(world.next_number() == new.next || (cut && world.next_number() == old.next));
        for _ in 0..2 {
            world.start_again();
            prop_assert_eq!(world.in_force(), is.clone());
        }
        // Further changes work.
        if is != text_of(9) {
            world.apply(&text_of(9), 60).unwrap();
            world.confirm().unwrap();
            world.start_again();
            prop_assert_eq!(world.in_force(), text_of(9));
        }
    }
}

/// A power cut at each step of a change that is applied and confirmed.
#[test]
fn each_step_of_one_change() {
    let whole = World::new();
    let first = whole.disk.steps();
    whole.apply(&text_of(1), 60).unwrap();
    let applied = whole.disk.steps() - first;
    whole.confirm().unwrap();
    let steps = whole.disk.steps() - first;
    println!("{steps} steps, {applied} of them until it is in force");
    assert!(applied >= 6 && steps > applied);
    let mut new = 0;
    for loses in [false, true] {
        for step in 0..=steps {
            let mut world = World::new();
            world.disk.cut(step, loses);
            let applied = world.apply(&text_of(1), 60);
            let confirmed = world.confirm();
            world.start_again();
            let is_new = world.in_force() == text_of(1);
            assert!(is_new || world.in_force() == IMAGE, "step {step}");
            // Acknowledged changes are stored.
            assert!(is_new || confirmed.is_err(), "step {step}");
            assert!(applied.is_ok() || !is_new, "step {step}");
            assert_eq!(world.unit.lock().unwrap().has, world.in_force(), "step {step}");
            new += u64::from(is_new);
        }
    }
    assert!(new >= 2, "some cuts came late enough");
}

/// Only a change in progress causes the error that another change is in progress; queries do not.
#[test]
fn who_only_looks_takes_nobodys_turn() {
    let world = World::new();
    let is_done = AtomicBool::new(false);
    let done: Vec<_> = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                world.look();
            }
        });
        let change = |number| (world.apply(&text_of(number), 60), world.confirm());
        let done = (1..=100).map(change).collect();
        is_done.store(true, Ordering::SeqCst);
        done
    });
    for (number, (applied, confirmed)) in (1..).zip(done) {
        assert!(applied.is_ok(), "{number}: {applied:?}");
        assert_eq!(confirmed, Ok(number));
    }
}

#[test]
fn a_number_is_good_once_and_also_after_a_restart() {
    let mut world = World::new();
    assert!(matches!(
        world.apply_as(&text_of(1), 1),
        Ok(CommandOutcome::Pending { sequence: 1, .. })
    ));
    world.take_back();
    for _ in 0..2 {
        for used in [0, 1, 3, u64::MAX] {
            let refused = world.apply_as(&text_of(2), used).unwrap_err();
            assert!(refused.message.contains("the next one is 2"), "{refused}");
        }
        world.start_again();
    }
    assert!(world.apply_as(&text_of(2), 2).is_ok());
}

#[test]
fn a_damaged_copy_is_passed_over_and_told() {
    let mut world = World::new();
    for text in [1, 2] {
        world.apply(&text_of(text), 60).unwrap();
        world.confirm().unwrap();
    }
    world.start_again();
    assert_eq!((world.in_force(), world.notes()), (text_of(2), vec![]));
    assert!(world.disk.damage("2.confirmed"));
    world.start_again();
    assert_eq!(world.in_force(), text_of(1));
    assert!(world.notes()[0].contains("configuration 2"), "{:?}", world.notes());
    assert!(world.disk.damage("1.confirmed"));
    world.start_again();
    assert_eq!((world.in_force().as_str(), world.notes().len()), (IMAGE, 2));
    // Its number is not reused.
    assert_eq!(world.next_number(), 3);
}

#[test]
fn old_copies_go_and_their_numbers_do_not_come_again() {
    let mut world = World::new();
    for round in 0..60 {
        world.apply(&text_of(round), 60).unwrap();
        assert!(if round % 3 == 0 { world.take_back().is_some() } else { world.confirm().is_ok() });
    }
    assert_eq!(world.next_number(), 61);
    let files = octet_config::store::Folder::list(&world.disk).unwrap();
    assert!(files.len() <= 33, "{}", files.len());
    world.start_again();
    assert_eq!((world.next_number(), world.in_force()), (61, text_of(59)));
}
