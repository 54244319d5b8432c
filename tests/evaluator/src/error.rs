//! ICMP errors about an allowed flow.

use crate::world::World;
use crate::zone::Zone;

/// The maximum size of a forwarded error with its IP header, for IPv4 and IPv6.
pub const LONGEST_ERROR: [usize; 2] = [576, 1280];

impl World {
    /// Whether an error from `by` is forwarded to `told`, one of the two ends of the flow `about`:
    /// its source must be in the zone of the other end. Outside, that is any host, because any
    /// router on the path may send it.
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
