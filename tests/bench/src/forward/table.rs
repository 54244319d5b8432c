//! The section of docs/BENCHMARKS.md on large networks.

use std::fmt::Write;

use super::{ForwardRuns, Run, Spread};
use crate::page::table;

/// The heading by which the section is found again.
pub const TITLE: &str = "## Large networks";

impl ForwardRuns {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let mut page = format!("{TITLE}\n\n{ABOUT}\n");
        let head = [
            "network",
            "nodes",
            "links",
            "announced",
            "room for",
            "lost",
            "known to each, at least",
            "unknown",
            "all have it, s, median",
            "most",
        ];
        table(&mut page, head, self.0.iter().map(Run::known));
        let _ = writeln!(page, "\n{BYTES}");
        let head = [
            "network",
            "nodes",
            "an announcement, bytes",
            "messages for one",
            "sent by a node for one, bytes",
            "the busiest",
            "a link for one, bytes",
            "the busiest",
            "a link if all announce, MB",
        ];
        table(&mut page, head, self.whole().map(Run::bytes));
        let _ = writeln!(page, "\n{PATHS}");
        let head = [
            "network",
            "nodes",
            "room for",
            "sought",
            "found",
            "two found",
            "hops, median",
            "stretch, median",
            "most",
            "graph, ms",
            "a path, ms",
            "8 paths, ms",
            "two, ms",
        ];
        table(&mut page, head, self.0.iter().map(Run::paths));
        let _ = writeln!(page, "\n{SET_UPS}");
        let head = [
            "network",
            "nodes",
            "hops",
            "asked",
            "stand",
            "ms, median",
            "most",
            "round trips, most",
            "a message, µs",
        ];
        let rows = self.whole().filter(|run| run.nodes == LARGEST).flat_map(Run::set_ups);
        table(&mut page, head, rows);
        page
    }

    /// Those in which nothing is lost, and nobody has too little room.
    fn whole(&self) -> impl Iterator<Item = &Run> {
        self.0.iter().filter(|run| run.lost == 0 && run.room >= run.nodes)
    }
}

/// The networks whose set-ups are shown.
const LARGEST: u32 = 10_000;

impl Run {
    fn known(&self) -> [String; 10] {
        [
            self.graph.to_owned(),
            self.nodes.to_string(),
            self.links.to_string(),
            self.announced.to_string(),
            self.room.to_string(),
            format!("{:.0} %", f64::from(self.lost) / 10.0),
            self.fewest_known.to_string(),
            self.unknown.to_string(),
            format!("{:.3}", self.seconds.median),
            format!("{:.3}", self.seconds.most),
        ]
    }

    fn bytes(&self) -> [String; 9] {
        let each = f64::from(self.announced.max(1));
        let whole = |it: f64| format!("{:.0}", it / each);
        [
            self.graph.to_owned(),
            self.nodes.to_string(),
            format!("{:.0}", self.announcement_bytes),
            format!("{:.0}", self.messages as f64 / each),
            whole(self.node_bytes.mean),
            whole(self.node_bytes.most),
            whole(self.link_bytes.mean),
            whole(self.link_bytes.most),
            format!("{:.2}", self.link_bytes.mean / each * f64::from(self.nodes) / 1e6),
        ]
    }

    fn paths(&self) -> [String; 13] {
        let percent =
            |it: u32| format!("{:.0} %", 100.0 * f64::from(it) / f64::from(self.sought.max(1)));
        let ms = |it: Spread| format!("{:.2}", it.median / 1e3);
        [
            self.graph.to_owned(),
            self.nodes.to_string(),
            self.room.to_string(),
            self.sought.to_string(),
            percent(self.found),
            percent(self.found_two),
            format!("{:.0}", self.hops.median),
            format!("{:.2} ×", self.stretch.median),
            format!("{:.2} ×", self.stretch.most),
            ms(self.graph_us),
            ms(self.path_us),
            ms(self.paths_us),
            ms(self.two_us),
        ]
    }

    fn set_ups(&self) -> impl Iterator<Item = [String; 9]> {
        self.set_ups.iter().map(|it| {
            [
                self.graph.to_owned(),
                self.nodes.to_string(),
                it.hops.to_string(),
                it.asked.to_string(),
                it.stand.to_string(),
                format!("{:.1}", it.milliseconds.median),
                format!("{:.1}", it.milliseconds.most),
                format!("{:.2}", it.round_trips.most),
                format!("{:.0}", it.message_us.median),
            ]
        })
    }
}

const ABOUT: &str = "\
```
cargo image bench --only forward
```

Nodes that run forward's own topology, announcements, graph and engine ([forwarding.md](forwarding.md)), without
kernels and sockets, in virtual time: only links take time. *boxes*: 8 boards each, all neighbours, at random
places of a square; half of the boards have a line to a box close by, the others one to any board. *plane*: nodes
at random places, and links between those that are close. A link takes 0.2 ms one way, and 40 ms more for the
width of the square.

Every node announces itself once, and the time is from there until the last one has it. With 10 000 nodes some
announce themselves to all, and the others are told only to the ten that seek paths: one announcement has nothing
to do with another as long as there is room. Where there is no room for all, they announce themselves within a
minute, and who comes first is kept. *unknown*: how often a node does not know another, of all pairs. Signatures
are verified once for all nodes, and what they know they share in memory.
";

const BYTES: &str = "\
What that takes, for one announcement. Without headers; a link counts both directions. The last column is
the mean of a link for as many announcements as there are nodes.
";

const PATHS: &str = "\
Ten nodes seek a path to twenty others each. *stretch*: the latency of the path beside that of the best one over
any number of links; a path has at most 7. *two*: two that have no relay in common. Times are real, of this
computer, medians; the graph is made of what a node knows, before it seeks.
";

const SET_UPS: &str = "\
The paths that were found are set up, one after the other: from the question until the source knows that the path
stands, in virtual time, and how many times as long as there and back over it that is. The last column is real:
what a node works for one message.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::SetUps;

    #[test]
    fn each_stands_beside_what_it_is_of() {
        let spread = |mean| Spread { mean, median: mean, most: 2.0 * mean };
        let set_ups = vec![SetUps { hops: 7, asked: 20, stand: 19, ..SetUps::default() }];
        let whole = Run {
            graph: "boxes",
            nodes: LARGEST,
            announced: 100,
            room: LARGEST,
            messages: 7_000,
            link_bytes: spread(50_000.0),
            sought: 200,
            found: 150,
            two_us: spread(1500.0),
            set_ups,
            ..Run::default()
        };
        let lossy = Run { lost: 10, graph: "plane", ..whole.clone() };
        let page = ForwardRuns(vec![whole, lossy]).markdown();
        for line in [
            "| 10000 | 0 | 70 | 0 | 0 | 500 | 1000 | 5.00 |",
            "| 200 | 75 % | 0 % |",
            "| 1.50 |\n",
            "| boxes | 10000 | 7 | 20 | 19 |",
            "| plane | 10000 | 0 | 100 | 10000 | 1 % |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(!page.contains("| plane | 10000 | 7 |"));
        // Nothing was measured, and nothing is divided by nothing.
        assert!(!ForwardRuns(vec![Run::default()]).markdown().contains("NaN"));
    }
}
