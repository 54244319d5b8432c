//! The section of docs/BENCHMARKS.md on a router between boards.

use std::fmt::Write;
use std::time::Duration;

use octet_machine::has_kvm;

use super::{Applied, PacketCost, ROUNDS, SegmentRuns};
use crate::page::table;
use crate::sample::{TimeSample, middle};

/// The heading by which the section is found again.
pub const TITLE: &str = "## Segments";

/// What is to be planned in at most so many seconds.
const PLAN_LIMIT: f64 = 0.010;

/// Netd beside nft and ip, rules beside none, many policies beside few, at most.
const APPLY_LIMIT: f64 = 1.5;
const RULES_LIMIT: f64 = 1.2;
const MANY_LIMIT: f64 = 1.05;

/// What a packet costs one of the routers.
type Of = fn(&PacketCost) -> Duration;
const MANY: Of = |it| it.many;
const FEW: Of = |it| it.few;
const UNGUARDED: Of = |it| it.unguarded;
const BARE: Of = |it| it.bare;

impl SegmentRuns {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let under = if has_kvm() { "KVM" } else { "TCG" };
        let mut page = format!("{TITLE}\n\n{ABOUT}\n");
        let _ = writeln!(
            page,
            "Medians of {} runs; what is measured on this computer itself is so {ROUNDS} times in each, \
             packets under {under}.\n",
            self.runs
        );
        table(&mut page, ["what", "measured", "goal", ""], self.goals().into_iter());
        let _ = writeln!(page, "\n{}", PLANNED.replace("$bytes", &self.plan.bytes.to_string()));
        table(&mut page, ["", "median, ms", "least", "most"], self.planned().into_iter());
        let _ = writeln!(page, "\n{}", APPLIED.replace("$buckets", &self.buckets.to_string()));
        let rows = self.applied.iter().flat_map(Applied::rows);
        table(&mut page, ["", "median, ms", "least", "most", "netd / this"], rows);
        let _ = writeln!(page, "\n{PACKETS}");
        table(&mut page, ["", "median, µs", "least", "most", "beside none"], self.packets());
        page
    }

    fn goals(&self) -> Vec<[String; 4]> {
        let goal = |what: String, is: String, must: String, met: bool| {
            let met = if met { "met" } else { "**missed**" };
            [what, is, must, met.to_owned()]
        };
        let ratio = |what: String, of: &TimeSample, beside: &TimeSample, limit: f64| {
            let is = of.median() / beside.median();
            goal(what, format!("{is:.2} ×"), format!("≤ {limit} ×"), is <= limit)
        };
        let [large, _] = &self.applied;
        let name = name(large);
        let both = self.plan.both.median();
        let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
        let limit = format!("≤ {:.0} ms", PLAN_LIMIT * 1e3);
        let mut goals = vec![goal(
            format!("{name}: from the settings to the plan and nft's text"),
            ms(both),
            limit,
            both <= PLAN_LIMIT,
        )];
        for it in &self.applied {
            let name = self::name(it);
            let Applied { netd, whole, least, .. } = it;
            let what = format!("{name}: applied from nothing, beside nft and ip");
            goals.push(ratio(what, &netd.first, &whole.first, APPLY_LIMIT));
            let what = format!("{name}: another policy, beside nft with only what differs");
            goals.push(ratio(what, &netd.change, &least.change, APPLY_LIMIT));
        }
        for (what, beside, limit) in [
            ("processor time of a packet, with all rules, beside none", BARE, RULES_LIMIT),
            ("the same, with many policies, beside few", FEW, MANY_LIMIT),
        ] {
            let is = self.beside(MANY, beside);
            let must = format!("≤ {limit} ×");
            goals.push(goal(what.to_owned(), format!("{is:.2} ×"), must, is <= limit));
        }
        goals
    }

    /// What a packet costs one router beside another: the median over moments at which both were measured.
    fn beside(&self, one: Of, other: Of) -> f64 {
        middle(self.packets.iter().map(|it| one(it).as_secs_f64() / other(it).as_secs_f64()))
    }

    fn planned(&self) -> [[String; 4]; 4] {
        let row = |what: &str, it: &TimeSample| {
            let [median, least, most] = three(it, 1e3);
            [what.to_owned(), median, least, most]
        };
        [
            row("the TOML, read and checked", &self.plan.parse),
            row("from that to the plan", &self.plan.plan),
            row("from the plan to nft's text", &self.plan.text),
            row("the last two", &self.plan.both),
        ]
    }

    fn packets(&self) -> impl Iterator<Item = [String; 5]> {
        let [large, small] = &self.applied;
        let (many, few) = (large.size.policies, small.size.policies);
        let rows: [(String, Of); 4] = [
            (format!("{many} policies"), MANY),
            (format!("{few} policies"), FEW),
            (format!("{many} policies, without the guard"), UNGUARDED),
            ("no rules and no tracking of flows".to_owned(), BARE),
        ];
        rows.into_iter().map(|(what, router)| {
            let mut sample = TimeSample::default();
            self.packets.iter().for_each(|it| sample.add(router(it)));
            let [median, least, most] = three(&sample, 1e6);
            [what, median, least, most, format!("{:.2} ×", self.beside(router, BARE))]
        })
    }
}

impl Applied {
    fn rows(&self) -> Vec<[String; 5]> {
        let name = name(self);
        let row = |what: &str, netd: &TimeSample, it: &TimeSample| {
            let [median, least, most] = three(it, 1e3);
            [format!("{name}, {what}"), median, least, most, times(netd, it)]
        };
        let (first, change) = (&self.netd.first, &self.netd.change);
        let flows = &self.netd.flows;
        vec![
            row("from nothing: netd", first, first),
            row("from nothing: nft and ip", first, &self.whole.first),
            row("another policy: netd", change, change),
            row("another policy: nft, all rules", change, &self.whole.change),
            row("another policy: nft, only what differs", change, &self.least.change),
            row("then netd looks for flows to end", change, flows),
        ]
    }
}

fn name(applied: &Applied) -> String {
    format!("{} boards, {} policies", applied.size.boards, applied.size.policies)
}

/// Median, least and most, in such parts of a second.
fn three(it: &TimeSample, parts: f64) -> [String; 3] {
    let (least, most) = it.range();
    [it.median(), least, most].map(|seconds| format!("{:.1}", seconds * parts))
}

fn times(of: &TimeSample, beside: &TimeSample) -> String {
    format!("{:.2} ×", of.median() / beside.median())
}

/// What there is so far, in one line.
pub fn brief(all: &SegmentRuns) -> String {
    let goals = all.goals();
    let said: Vec<_> = goals.iter().map(|[what, is, ..]| format!("{what}: {is}")).collect();
    said.join("; ")
}

const ABOUT: &str = "\
```
cargo image bench --only segments
```

A router between boards ([segments.md](segments.md)), from its file to its packets. The large box has
lines from each board to others, one in eight of them from all boards, some with a range of ports, a rate,
`lan` or the uplink; the last line is another one after a change.
";

const PLANNED: &str = "\
Netd's own code, compiled as what ships, on this computer; once in a new process each time, as when netd
is told of a box. The large box, of whose rules nft gets $bytes bytes.
";

const APPLIED: &str = "\
Until the kernel has all of it: rules, links, addresses, neighbours, forwarding. In this computer's kernel,
each time in a new network namespace, whose pairs of veth devices are the ports. Netd looks at what there
is, has nft load the rules, changes what differs by rtnetlink, and looks again; of a change nft gets only what
differs from the rules that netd knows to stand. Beside it are `nft -f` with the same text and `ip -batch` with
the same changes, found and written before: of another policy an element, a chain and a counter, with nothing
left to do for ip. Then nft with all rules once more, as a tool does that does not know what stands. Apart from
that stands what nobody else does here: after a change netd ends flows that no policy allows any more, for which the
kernel walks its whole table of flows ($buckets buckets here, fewer in a board with less memory).
";

const PACKETS: &str = "\
Processor time of the host that QEMU uses (/proc/PID/stat) for a datagram with 64 bytes from board 1 to
board 2, less what the guest takes while nothing comes; in a flow that the router knows in both directions,
at most 128 under way, all seen to come out at the other port. The guests have the uplink's card and those
of these two boards, and rules for 32 boards; they run beside each other, and one after the other has work.
Ratios are medians over the moments at which all four were measured one right after the other.
Without rules flows are not tracked either: the kernel does that only where a rule asks for it.
";

#[cfg(test)]
mod tests {
    use super::super::text::{LARGE, SMALL};
    use super::super::{Applications, Planned};
    use super::*;

    fn all() -> SegmentRuns {
        let applications = |first: u64, change: u64| Applications {
            first: [first].into(),
            change: [change].into(),
            flows: [7].into(),
        };
        let applied = |size, netd: [u64; 2]| Applied {
            size,
            netd: applications(netd[0], netd[1]),
            whole: applications(100, 100),
            least: applications(100, 70),
        };
        SegmentRuns {
            runs: 2,
            plan: Planned {
                parse: [20].into(),
                plan: [2].into(),
                text: [4].into(),
                both: [6].into(),
                bytes: 500_000,
            },
            buckets: 65536,
            applied: [applied(LARGE, [120, 98]), applied(SMALL, [110, 91])],
            packets: [[46, 45, 42, 40], [92, 90, 84, 80], [460, 440, 400, 450]]
                .map(|[many, few, unguarded, bare]| {
                    let [many, few, unguarded, bare] =
                        [many, few, unguarded, bare].map(Duration::from_micros);
                    PacketCost { many, few, unguarded, bare }
                })
                .into(),
        }
    }

    #[test]
    fn everything_stands_beside_its_limit() {
        let page = all().markdown();
        assert!(page.starts_with(TITLE) && page.ends_with("|\n"), "{page}");
        let box_ = "32 boards, 1000 policies";
        for row in [
            format!(
                "| {box_}: from the settings to the plan and nft's text | 6.0 ms | ≤ 10 ms | met |"
            ),
            format!("| {box_}: applied from nothing, beside nft and ip | 1.20 × | ≤ 1.5 × | met |"),
            "| 8 boards, 8 policies: another policy, beside nft with only what differs | 1.30 × | ≤ 1.5 × | met |"
                .into(),
            format!("| {box_}, another policy: nft, all rules | 100.0 | 100.0 | 100.0 | 0.98 × |"),
            "| the same, with many policies, beside few | 1.02 × | ≤ 1.05 × | met |".into(),
            "| 1000 policies, without the guard | 84.0 | 42.0 | 400.0 | 1.05 × |".into(),
        ] {
            assert!(page.contains(&row), "{row}\n{page}");
        }
        assert!(!page.contains("missed"), "{page}");
        // No run at all is no reason to fail.
        SegmentRuns::default().markdown();
    }

    #[test]
    fn a_limit_can_be_missed() {
        let mut late = all();
        late.plan.both = [11].into();
        late.applied[0].netd.change = [151].into();
        for packet in &mut late.packets {
            packet.bare = packet.many * 10 / 13;
            packet.few = packet.many * 10 / 11;
        }
        let page = late.markdown();
        assert_eq!(page.matches("**missed**").count(), 4, "{page}");
    }
}
