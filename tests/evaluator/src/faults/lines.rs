//! Faults as if the file had other rules.

use crate::by::By;
use crate::line::{Line, What, Word};
use crate::world::World;
use crate::zone::Zone;

fn policies(world: &mut World) -> impl Iterator<Item = &mut Line> {
    world.lines.iter_mut().filter(|line| line.is_policy())
}

/// Both lists of every policy.
fn lists(world: &mut World) -> impl Iterator<Item = &mut Vec<Word>> {
    policies(world).flat_map(|line| [&mut line.from, &mut line.to])
}

/// The protocols and ports of all policies.
fn whats(world: &mut World) -> impl Iterator<Item = &mut What> {
    policies(world).flat_map(|line| &mut line.what)
}

/// Applies `change` to the port ranges of policies with more than one port.
fn ranges(world: &mut World, change: fn(&mut u16, &mut u16)) {
    for what in whats(world) {
        if let What::Tcp(first, last) | What::Udp(first, last) = what
            && first < last
        {
            change(first, last);
        }
    }
}

pub(super) fn without(world: &mut World, built_in: &'static str) {
    world.lines.retain(|line| line.by != By::BuiltIn(built_in));
}

pub(super) fn reversed(world: &mut World) {
    for line in policies(world) {
        std::mem::swap(&mut line.from, &mut line.to);
    }
}

pub(super) fn both_directions(world: &mut World) {
    let mut back = world.clone();
    reversed(&mut back);
    world.lines.extend(back.lines);
}

/// The role that the first policy with a role names.
fn some_role(world: &mut World) -> Option<String> {
    let mut words = lists(world).flatten();
    words.find_map(|word| match word {
        Word::Role(role) => Some(role.clone()),
        _ => None,
    })
}

pub(super) fn role_with_one_more(world: &mut World) {
    let Some(role) = some_role(world) else { return };
    let boards = world.cluster.boards.iter();
    let other = boards.filter(|board| board.role.as_ref() != Some(&role)).map(|board| board.number);
    let Some(other) = other.min() else { return };
    for list in lists(world) {
        if list.contains(&Word::Role(role.clone())) {
            list.push(Word::One(Zone::Board(other)));
        }
    }
}

pub(super) fn role_without_last(world: &mut World) {
    let Some(role) = some_role(world) else { return };
    let mut boards = world.cluster.boards.iter_mut().rev();
    if let Some(last) = boards.find(|board| board.role.as_ref() == Some(&role)) {
        last.role = None;
    }
}

pub(super) fn board_off_by_one(world: &mut World) {
    let boards = world.boards();
    for word in lists(world).flatten() {
        if let Word::One(Zone::Board(number)) = word {
            *number = *number % boards + 1;
        }
    }
}

pub(super) fn boards_without_last(world: &mut World) {
    let boards = world.boards();
    for list in lists(world) {
        if list.contains(&Word::Boards) {
            list.retain(|word| *word != Word::Boards);
            list.extend((1..boards).map(|number| Word::One(Zone::Board(number))));
        }
    }
}

pub(super) fn lan_is_a_board(world: &mut World) {
    for list in lists(world) {
        if list.contains(&Word::Boards) {
            list.push(Word::One(Zone::Lan));
        }
    }
}

pub(super) fn first_zone_only(world: &mut World) {
    lists(world).for_each(|list| list.truncate(1));
}

pub(super) fn range_starts_late(world: &mut World) {
    ranges(world, |first, _| *first += 1);
}

pub(super) fn range_starts_early(world: &mut World) {
    ranges(world, |first, _| *first = first.saturating_sub(1));
}

pub(super) fn range_ends_late(world: &mut World) {
    ranges(world, |_, last| *last = last.saturating_add(1));
}

pub(super) fn range_ends_early(world: &mut World) {
    ranges(world, |_, last| *last -= 1);
}

pub(super) fn first_port_only(world: &mut World) {
    policies(world).for_each(|line| line.what.truncate(1));
}

pub(super) fn tcp_as_udp(world: &mut World) {
    for what in whats(world) {
        if let What::Tcp(first, last) = *what {
            *what = What::Udp(first, last);
        }
    }
}

pub(super) fn protocol_off_by_one(world: &mut World) {
    for what in whats(world) {
        if let What::Protocol(number) = what {
            *number = number.wrapping_add(1);
        }
    }
}

pub(super) fn without_first(world: &mut World) {
    world.lines.retain(|line| line.by != By::Policy(1));
}

pub(super) fn without_last(world: &mut World) {
    let last = By::Policy(policies(world).count());
    world.lines.retain(|line| line.by != last);
}

pub(super) fn gate_for_uplink(world: &mut World) {
    for line in &mut world.lines {
        if line.by == By::BuiltIn("gate") {
            line.from.push(Word::One(Zone::Uplink));
        }
    }
}

pub(super) fn publish_to_next(world: &mut World) {
    let boards = world.boards();
    for publish in &mut world.publishes {
        publish.board = publish.board % boards + 1;
    }
}

pub(super) fn no_publish(world: &mut World) {
    world.publishes.clear();
}
