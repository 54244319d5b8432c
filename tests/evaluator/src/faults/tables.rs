//! Faults that no file can express.

use crate::table::{Probe, Table};
use crate::traffic::{Traffic, Version};
use crate::world::World;
use crate::zone::Zone;

/// Makes all dropped probes for which `which` is true arrive at their destination.
fn let_in(table: &mut Table, which: impl Fn(Probe) -> bool) {
    for (probe @ (from, to, ..), at) in table {
        if at.is_none() && from != to && which(*probe) {
            *at = Some(*to);
        }
    }
}

pub(super) fn no_ipv6(_: &World, table: &mut Table) {
    for ((.., version), at) in table {
        if *version == Version::V6 {
            *at = None;
        }
    }
}

pub(super) fn all_ipv6(_: &World, table: &mut Table) {
    let_in(table, |(.., version)| version == Version::V6);
}

pub(super) fn ping_everywhere(_: &World, table: &mut Table) {
    let_in(table, |(_, _, traffic, _)| traffic == Traffic::Ping);
}

pub(super) fn itself(_: &World, table: &mut Table) {
    for ((from, to, ..), at) in table {
        if from == to {
            *at = Some(*to);
        }
    }
}

pub(super) fn router_sends(_: &World, table: &mut Table) {
    let_in(table, |(from, ..)| from == Zone::Router);
}

pub(super) fn published_for_all(world: &World, table: &mut Table) {
    for ((_, to, traffic, _), at) in table {
        if *to == Zone::Router
            && let Some((board, _)) = world.published(*traffic)
        {
            *at = Some(board);
        }
    }
}

pub(super) fn published_at_router(world: &World, table: &mut Table) {
    for ((from, to, traffic, _), at) in table {
        if (*from, *to) == (Zone::Uplink, Zone::Router) && world.published(*traffic).is_some() {
            *at = Some(Zone::Router);
        }
    }
}

pub(super) fn published_board_open(world: &World, table: &mut Table) {
    let_in(table, |(from, to, traffic, _)| {
        let mut all = world.publishes.iter();
        from == Zone::Uplink
            && all.any(|publish| Zone::Board(publish.board) == to && publish.inside == traffic)
    });
}
