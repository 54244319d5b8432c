//! The hops of a path as the source knows them. Relays are not queried: they measure their links and announce
//! the results to all nodes.

use crate::announcement::AnnouncedLink;
use crate::label::Label;
use octet_node::address::NodeAddress;

#[derive(Debug, Clone, PartialEq)]
pub struct TracedHop {
    pub node: NodeAddress,
    /// The label of packets to this hop. The source knows the first hop's only: each later hop gave its label
    /// to the previous hop alone.
    pub label: Option<Label>,
    /// The round-trip time of the link to this hop in milliseconds, as both ends announce it. `None` if they do
    /// not.
    pub milliseconds: Option<f64>,
}

/// The hops of a path of the node `own`; `link` gives the announced link between two nodes.
pub fn hops(
    own: NodeAddress,
    hops: &[NodeAddress],
    first: Option<Label>,
    link: impl Fn(NodeAddress, NodeAddress) -> Option<AnnouncedLink>,
) -> Vec<TracedHop> {
    let before = std::iter::once(own).chain(hops.iter().copied());
    let labels = std::iter::once(first).chain(std::iter::repeat(None));
    let hop = |((from, node), label): ((NodeAddress, &NodeAddress), Option<Label>)| {
        let milliseconds = link(from, *node).map(|link| f64::from(link.latency) / 5.0);
        TracedHop { node: *node, label, milliseconds }
    };
    before.zip(hops).zip(labels).map(hop).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::control::PublicKey;

    #[test]
    fn what_is_known_of_each() {
        let [own, one, two, three] =
            [0, 1, 2, 3].map(|number| NodeAddress::of(&PublicKey::new([number; 32])));
        let known = |from: NodeAddress, to: NodeAddress| {
            let latency = if (from, to) == (own, one) {
                4
            } else if (from, to) == (two, three) {
                125
            } else {
                return None;
            };
            Some(AnnouncedLink { neighbour: to, capacity: 0, latency, loss: 0 })
        };
        let label = Label::new(4711);
        let found = hops(own, &[one, two, three], label, known);
        let hop = |node, label, milliseconds| TracedHop { node, label, milliseconds };
        let wanted =
            [hop(one, label, Some(0.8)), hop(two, None, None), hop(three, None, Some(25.0))];
        assert_eq!(found, wanted);
    }
}
