//! Possible faults of a plan. A test plants each into a correct table, and shows that the
//! comparison detects it.

mod lines;
mod tables;

use crate::table::Table;
use crate::world::World;

/// A fault.
#[derive(Debug)]
pub struct Fault {
    pub name: &'static str,
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// As if the file had other rules.
    Lines(fn(&mut World)),
    /// As if this built-in rule did not exist.
    Without(&'static str),
    /// Some probes have another result.
    Table(fn(&World, &mut Table)),
}

impl Fault {
    /// A copy of `table`, which is a table of `world`, with this fault. It has the same probes, and
    /// the same results if the fault does not affect `world`.
    pub fn plant(&self, world: &World, table: &Table) -> Table {
        let mut table = table.clone();
        let mut wrong = world.clone();
        match self.change {
            Change::Table(change) => {
                change(world, &mut table);
                return table;
            }
            Change::Lines(change) => change(&mut wrong),
            Change::Without(name) => lines::without(&mut wrong, name),
        }
        // Only the differences are applied, because the table need not be this crate's.
        for (&(from, to, traffic, version), at) in &mut table {
            let is = wrong.reaches(from, to, traffic, version);
            if is != world.reaches(from, to, traffic, version) {
                *at = is;
            }
        }
        table
    }
}

const fn of_lines(name: &'static str, change: fn(&mut World)) -> Fault {
    Fault { name, change: Change::Lines(change) }
}

const fn without(name: &'static str, built_in: &'static str) -> Fault {
    Fault { name, change: Change::Without(built_in) }
}

const fn of_table(name: &'static str, change: fn(&World, &mut Table)) -> Fault {
    Fault { name, change: Change::Table(change) }
}

pub const FAULTS: &[Fault] = &[
    of_lines("policies let the other direction instead", lines::reversed),
    of_lines("policies let new flows of both directions", lines::both_directions),
    of_lines("a role has one board more", lines::role_with_one_more),
    of_lines("a role lacks its last board", lines::role_without_last),
    of_lines("boards are off by one", lines::board_off_by_one),
    of_lines("`boards` lacks the last board", lines::boards_without_last),
    of_lines("`boards` has `lan` in it", lines::lan_is_a_board),
    of_lines("a list of zones is only its first", lines::first_zone_only),
    of_lines("ranges start one port late", lines::range_starts_late),
    of_lines("ranges start one port early", lines::range_starts_early),
    of_lines("ranges end one port late", lines::range_ends_late),
    of_lines("ranges end one port early", lines::range_ends_early),
    of_lines("a list of ports is only its first", lines::first_port_only),
    of_lines("TCP is opened as UDP", lines::tcp_as_udp),
    of_lines("protocol numbers are off by one", lines::protocol_off_by_one),
    of_lines("the first policy is dropped", lines::without_first),
    of_lines("the last policy is dropped", lines::without_last),
    of_lines("the gate is open to the uplink", lines::gate_for_uplink),
    of_lines("what is published goes to the next board", lines::publish_to_next),
    of_lines("nothing is published", lines::no_publish),
    without("no built-in `dhcp`", "dhcp"),
    without("no built-in `dns`", "dns"),
    without("no built-in `time`", "time"),
    without("no built-in `enrolment`", "enrolment"),
    without("no built-in `gate`", "gate"),
    without("no built-in `ping`", "ping"),
    without("no built-in `relay`", "relay"),
    without("no built-in `reach`", "reach"),
    without("no built-in `ask`", "ask"),
    of_table("IPv6 is forgotten", tables::no_ipv6),
    of_table("IPv6 has no rules", tables::all_ipv6),
    of_table("ping is let everywhere", tables::ping_everywhere),
    of_table("a zone reaches itself", tables::itself),
    of_table("the router may send anything", tables::router_sends),
    of_table("what is published is so for everybody", tables::published_for_all),
    of_table("what is published arrives at the router", tables::published_at_router),
    of_table("the board of a published port is open itself", tables::published_board_open),
];
