//! Private paths of this node.

use std::collections::BTreeSet;

use octet_node::address::NodeAddress;

use super::{Daemon, random_bytes, seconds};
use crate::engine::ShownSource;
use crate::graph::{Graph, PATHS, PathConstraints};
use crate::private_source::{self, MAX};

impl Daemon {
    /// The source of another private path.
    pub(super) fn private_source(&self) -> Result<ShownSource, String> {
        let present = self.engine.paths().filter(|(_, path)| path.source.is_private()).count();
        if present >= MAX {
            return Err(format!("{MAX} private paths begin here already: drop one of them"));
        }
        let source = private_source::throw_away(seconds());
        let source = source.ok_or("the kernel provides no randomness")?;
        Ok(ShownSource::ThrowAway(Box::new(source)))
    }

    /// The hops of a private path to a node within constraints.
    pub(super) fn find_private_hops(
        &self,
        to: NodeAddress,
        limits: &PathConstraints,
    ) -> Result<Vec<NodeAddress>, String> {
        let (Some(topology), Some(node)) = (&self.announcements.topology, self.node()) else {
            return Err("this node has no certified key yet".to_owned());
        };
        let own = NodeAddress::of(&node);
        let members = self.map.iter().flat_map(|map| &map.members);
        let mut members: BTreeSet<_> =
            members.map(|member| NodeAddress::of(&member.node)).collect();
        members.insert(own);
        let graph = Graph::of(topology);
        let [random, ..] = random_bytes();
        let mut outside = limits.clone();
        outside.avoid.extend(&members);
        // Paths outside of the box are searched for first: the shortest ones may all end with its boards.
        let all = [&outside, limits].map(|limits| graph.paths(own, to, limits, PATHS));
        let mut chosen =
            all.into_iter().filter_map(|paths| private_source::choose(paths, &members, random));
        let least = limits.relays;
        chosen.next().ok_or_else(|| {
            let to = self.display_name(to);
            format!("no known path to {to} has {least} relays or more, the last of which is of another box unless {to} is of this one: name relays with `--via`")
        })
    }
}
