use proptest::prelude::*;

use super::*;

fn address(number: usize) -> NodeAddress {
    let mut octets = [0xfc; 16];
    octets[1] = u8::try_from(number).unwrap();
    octets.try_into().unwrap()
}

/// A graph from links as (one end, other end, length); all nodes relay, with equal capacity.
fn graph(nodes: usize, links: &[(usize, usize, u32)]) -> Graph {
    let mut graph = Graph {
        addresses: (0..nodes).map(address).collect(),
        nodes: vec![Node { relays: true, price: 0, edges: Vec::new() }; nodes],
    };
    for (one, other, length) in links {
        if one != other && graph.edge(*one, *other).is_none() {
            for (from, to) in [(*one, *other), (*other, *one)] {
                graph.nodes[from].edges.push(Edge { to, capacity: 1000, length: *length });
            }
        }
    }
    graph
}

/// All paths within the constraints, by brute force.
fn all(graph: &Graph, to: usize, limits: &PathConstraints) -> Vec<CandidatePath> {
    fn go(
        graph: &Graph,
        to: usize,
        limits: &PathConstraints,
        path: &mut Vec<usize>,
        found: &mut Vec<CandidatePath>,
    ) {
        let node = path[path.len() - 1];
        if node == to {
            let path = graph.path(path);
            if path.hops.len() > limits.relays
                && limits.length.is_none_or(|most| path.length <= most)
            {
                found.push(path);
            }
            return;
        }
        let relay = &graph.nodes[node];
        let may = relay.relays
            && !limits.avoid.contains(&address(node))
            && limits.price.is_none_or(|most| relay.price <= most);
        if path.len() > HOPS || (path.len() > 1 && !may) {
            return;
        }
        for edge in &relay.edges {
            if edge.capacity >= limits.capacity && !path.contains(&edge.to) {
                path.push(edge.to);
                go(graph, to, limits, path, found);
                path.pop();
            }
        }
    }
    let mut found = Vec::new();
    go(graph, to, limits, &mut vec![0], &mut found);
    found.sort_by_key(order);
    found
}

fn order(path: &CandidatePath) -> (u32, usize) {
    (path.length, path.hops.len())
}

fn have_nothing_in_common([one, other]: &[CandidatePath; 2]) -> bool {
    let relays = |path: &CandidatePath| path.hops[..path.hops.len() - 1].to_vec();
    let shared = relays(one).iter().any(|hop| relays(other).contains(hop));
    !shared && one.hops != other.hops
}

fn numbers(path: &CandidatePath) -> Vec<u8> {
    path.hops.iter().map(|hop| hop.octets()[1]).collect()
}

#[test]
fn the_shortest_first_and_of_equals_that_with_fewer_hops() {
    let graph = graph(4, &[(0, 1, 10), (1, 3, 10), (0, 2, 5), (2, 1, 5), (0, 3, 40)]);
    let paths = graph.paths(address(0), address(3), &PathConstraints::default(), PATHS);
    let hops: Vec<_> = paths.iter().map(numbers).collect();
    assert_eq!(hops, [vec![1, 3], vec![2, 1, 3], vec![3]]);
    assert_eq!(
        paths[1],
        CandidatePath { hops: paths[1].hops.clone(), length: 20, capacity: 1000, price: 0 }
    );
    assert_eq!(graph.paths(address(0), address(3), &PathConstraints::default(), 1).len(), 1);
    assert!(graph.paths(address(0), address(0), &PathConstraints::default(), 1).is_empty());
    assert!(graph.paths(address(0), address(9), &PathConstraints::default(), 1).is_empty());
}

#[test]
fn limits_hold() {
    let mut graph = graph(4, &[(0, 1, 10), (1, 3, 10), (0, 2, 20), (2, 3, 20)]);
    graph.nodes[1].price = 7;
    graph.nodes[2].edges.iter_mut().for_each(|edge| edge.capacity = 500);
    let first = |graph: &Graph, limits: &PathConstraints| {
        graph.paths(address(0), address(3), limits, 1).first().map(numbers)
    };
    let none = PathConstraints::default();
    assert_eq!(first(&graph, &none), Some(vec![1, 3]));
    let avoid = PathConstraints { avoid: [address(1)].into(), ..none.clone() };
    assert_eq!(first(&graph, &avoid), Some(vec![2, 3]));
    assert_eq!(
        first(&graph, &PathConstraints { price: Some(6), ..none.clone() }),
        Some(vec![2, 3])
    );
    assert_eq!(
        first(&graph, &PathConstraints { price: Some(7), ..none.clone() }),
        Some(vec![1, 3])
    );
    assert_eq!(
        first(&graph, &PathConstraints { length: Some(20), ..none.clone() }),
        Some(vec![1, 3])
    );
    assert_eq!(first(&graph, &PathConstraints { length: Some(19), ..none.clone() }), None);
    assert_eq!(first(&graph, &PathConstraints { capacity: 501, ..avoid }), None);
    graph.nodes[1].relays = false;
    assert_eq!(first(&graph, &none), Some(vec![2, 3]));
    // Source and destination need not relay.
    (graph.nodes[0].relays, graph.nodes[3].relays) = (false, false);
    assert_eq!(first(&graph, &none), Some(vec![2, 3]));
}

/// The shortest path has one hop too many.
#[test]
fn no_path_has_too_many_hops() {
    let chain: Vec<_> = (0..HOPS + 1).map(|at| (at, at + 1, 1)).collect();
    let end = HOPS + 1;
    let long = graph(end + 1, &chain);
    assert!(long.paths(address(0), address(end), &PathConstraints::default(), 1).is_empty());
    assert_eq!(long.paths(address(0), address(HOPS), &PathConstraints::default(), 1).len(), 1);
    let shortcut = graph(end + 1, &[&chain[..], &[(2, 4, 100)]].concat());
    let paths = shortcut.paths(address(0), address(end), &PathConstraints::default(), PATHS);
    assert_eq!(paths.len(), 1);
    assert_eq!(paths[0].hops.len(), HOPS);
}

/// The shortest path uses both exits of the source's side: no path is disjoint from it, but a disjoint pair
/// exists.
#[test]
fn a_pair_is_found_where_the_shortest_path_is_in_none() {
    let trap =
        graph(6, &[(0, 1, 1), (1, 4, 1), (4, 5, 1), (0, 2, 9), (2, 4, 9), (1, 3, 9), (3, 5, 9)]);
    let limits = PathConstraints::default();
    let shortest = &trap.paths(address(0), address(5), &limits, 1)[0];
    assert_eq!(numbers(shortest), [1, 4, 5]);
    let pair = trap.disjoint(address(0), address(5), &limits).unwrap();
    assert!(have_nothing_in_common(&pair));
    let lone = graph(4, &[(0, 1, 1), (1, 2, 1), (2, 3, 1), (1, 3, 1)]);
    assert_eq!(lone.disjoint(address(0), address(3), &limits), None);
}

fn links(nodes: usize) -> impl Strategy<Value = Vec<(usize, usize, u32)>> {
    prop::collection::vec((0..nodes, 0..nodes, 0u32..20), nodes..3 * nodes)
}

/// A random graph: some nodes do not relay, prices and links differ.
fn graphs(nodes: usize) -> impl Strategy<Value = Graph> {
    let about = prop::collection::vec((prop::bool::weighted(0.9), 0u32..4), nodes);
    let capacities = prop::collection::vec(1u32..4, nodes * nodes);
    (links(nodes), about, capacities).prop_map(move |(links, about, capacities)| {
        let mut graph = graph(nodes, &links);
        for (from, (node, (relays, price))) in graph.nodes.iter_mut().zip(about).enumerate() {
            (node.relays, node.price) = (relays, price);
            for edge in &mut node.edges {
                edge.capacity = capacities[from.min(edge.to) * nodes + from.max(edge.to)];
            }
        }
        graph
    })
}

fn limits() -> impl Strategy<Value = PathConstraints> {
    let some = (
        prop::option::of(0u32..4),
        prop::option::of(0u32..80),
        0u32..4,
        prop::option::of(1usize..9),
    );
    some.prop_map(|(price, length, capacity, avoid)| PathConstraints {
        avoid: avoid.map(address).into_iter().collect(),
        price,
        length,
        capacity,
        relays: 0,
    })
}

/// A minimum number of relays is met even if the direct link is shorter.
#[test]
fn there_are_as_many_relays_as_are_wanted() {
    let whole: Vec<_> =
        (0..12).flat_map(|one| (0..one).map(move |other| (one, other, 5))).collect();
    let whole = graph(12, &whole);
    for relays in 0..HOPS {
        let limits = PathConstraints { relays, ..PathConstraints::default() };
        let paths = whole.paths(address(0), address(11), &limits, PATHS);
        assert_eq!(paths.len(), PATHS, "{relays}");
        assert_eq!(paths[0].hops.len(), relays + 1);
        assert!(paths.iter().all(|path| path.hops.len() > relays));
        let pair = whole.disjoint(address(0), address(11), &limits);
        assert_eq!(pair.is_some(), 2 * relays <= 10, "{relays}");
    }
    let lone = graph(3, &[(0, 1, 1), (1, 2, 1), (0, 2, 1)]);
    let two = PathConstraints { relays: 2, ..PathConstraints::default() };
    assert!(lone.paths(address(0), address(2), &two, 1).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// The paths are those of a brute-force search, also at the hop limit.
    #[test]
    fn several_are_the_shortest_of_all(graph in graphs(10), limits in limits()) {
        let paths = graph.paths(address(0), address(9), &limits, PATHS);
        let all = all(&graph, 9, &limits);
        let orders: Vec<_> = paths.iter().map(order).collect();
        let best: Vec<_> = all.iter().map(order).take(PATHS).collect();
        prop_assert_eq!(orders, best);
        for (at, path) in paths.iter().enumerate() {
            prop_assert!(all.contains(path));
            prop_assert!(!paths[..at].contains(path));
        }
    }

    /// With a minimum number of relays each result is valid, and with a minimum of one it is the shortest.
    #[test]
    fn relays_are_counted(graph in graphs(9), limits in limits(), relays in 0usize..4) {
        let limits = PathConstraints { relays, ..limits };
        let all = all(&graph, 8, &limits);
        let paths = graph.paths(address(0), address(8), &limits, PATHS);
        prop_assert!(paths.iter().all(|path| all.contains(path)));
        if relays <= 1 {
            prop_assert_eq!(paths.first().map(order), all.first().map(order));
        }
        if let Some(pair) = graph.disjoint(address(0), address(8), &limits) {
            prop_assert!(have_nothing_in_common(&pair) && pair.iter().all(|path| all.contains(path)));
        }
    }

    /// With eight nodes no path exceeds the hop limit: the pair is optimal.
    #[test]
    fn a_pair_is_the_shortest_of_all(mut graph in graphs(8), limits in limits(), bound: bool) {
        for node in &mut graph.nodes {
            // Otherwise pairs are rare.
            node.relays |= node.price > 0;
        }
        let limits = if bound { limits } else { PathConstraints::default() };
        let all = all(&graph, 7, &limits);
        let sum = |pair: &[CandidatePath; 2]| (pair[0].length + pair[1].length, pair[0].hops.len() + pair[1].hops.len());
        let pairs = all.iter().flat_map(|one| all.iter().map(|other| [one.clone(), other.clone()]));
        let best = pairs.filter(have_nothing_in_common).map(|pair| sum(&pair)).min();
        let found = graph.disjoint(address(0), address(7), &limits);
        if let Some(pair) = &found {
            prop_assert!(have_nothing_in_common(pair));
            prop_assert!(pair.iter().all(|path| all.contains(path)));
        }
        if limits.length.is_none() {
            prop_assert_eq!(found.as_ref().map(sum), best);
        }
    }

    /// Where paths can exceed the hop limit, the pair is still valid.
    #[test]
    fn a_pair_keeps_to_the_limits(graph in graphs(14), limits in limits()) {
        if let Some(pair) = graph.disjoint(address(0), address(13), &limits) {
            prop_assert!(have_nothing_in_common(&pair));
            for path in pair {
                prop_assert!(path.hops.len() <= HOPS);
                prop_assert!(limits.length.is_none_or(|most| path.length <= most));
                prop_assert!(path.capacity >= limits.capacity);
            }
        }
    }
}
