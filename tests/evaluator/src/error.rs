//! Errors of ICMP about a flow that is let.

use crate::world::World;
use crate::zone::Zone;

/// The longest error that is handed on, with the header of IP, of IPv4 and of IPv6.
pub const LONGEST_ERROR: [usize; 2] = [576, 1280];

impl World {
    /// Whether an error that comes from `by` is let to `told`, one of the two ends of the flow `about`: it has to come
    /// from the zone of the other end. Outside that is everybody, since whoever is on the way may say it.
    pub fn lets_error(&self, by: Zone, about: (Zone, Zone), told: Zone) -> bool {
        let other = match about {
            (from, to) if told == from => to,
            (from, to) if told == to => from,
            (from, to) => panic!("{told} is neither {from} nor {to}"),
        };
        by == other && self.has(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_from_where_the_other_end_is() {
        let world = World::read("[cluster]\nboards = 4\n[lan]\n", &[]).unwrap();
        let (one, two) = (Zone::Board(1), Zone::Board(2));
        for about in [(one, two), (two, one)] {
            let by: Vec<_> =
                world.zones().into_iter().filter(|by| world.lets_error(*by, about, one)).collect();
            assert_eq!(by, [two]);
        }
        assert!(world.lets_error(Zone::Uplink, (one, Zone::Uplink), one));
        assert!(!world.lets_error(Zone::Uplink, (one, Zone::Router), one));
        assert!(world.lets_error(one, (one, Zone::Router), Zone::Router));
        assert!(!world.lets_error(Zone::Path, (one, Zone::Lan), one));
    }
}
