//! The section of docs/BENCHMARKS.md on a box that runs.

use std::fmt::Write;

use octet_machine::has_kvm;

use super::run::ROUNDS;
use super::{GateMemory, Installs, LiveRuns};
use crate::page::table;
use crate::sample::TimeSample;

/// The heading by which the section is found again.
pub const TITLE: &str = "## A running box";

const MB: f64 = 1e6;

impl LiveRuns {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let under = if has_kvm() { "KVM" } else { "TCG, which makes cryptography slow" };
        let mut page = format!("{TITLE}\n\n{ABOUT}\n");
        let _ = writeln!(page, "Under {under}. Medians of {} runs.\n", self.runs);
        let _ = writeln!(page, "{REACH}\nEach is asked {ROUNDS} times in a run, in turn.\n");
        let head = ["", "median, ms", "least", "most", "the gate / this"];
        table(&mut page, head, self.reach().into_iter());
        let _ = writeln!(page, "\n{UPDATES}");
        let releases = [("nothing in common", &self.whole), ("one line differs", &self.small)];
        table(&mut page, INSTALLS, releases.into_iter().map(|(what, it)| it.row(what)));
        let _ = writeln!(page, "\n{MEMORY}");
        let moments =
            [("before anybody came", &self.before), ("one operator came and went", &self.after)];
        let rows = moments.into_iter().map(|(what, it)| memory(what, it));
        table(&mut page, ["", "charged, MB", "resident, MB"], rows);
        page
    }

    fn reach(&self) -> [[String; 5]; 3] {
        let ms = |seconds: f64| format!("{:.1}", seconds * 1e3);
        let row = |what: &str, it: &TimeSample| {
            let (least, most) = it.range();
            let all = [it.median(), least, most].map(ms);
            let [median, least, most] = all;
            [what.to_owned(), median, least, most, ratio(&self.gate, it)]
        };
        [
            row("`octetctl --box … status`, by the gate", &self.gate),
            row("`cargo image ctl status`, at PID 1's port", &self.port),
            row("one byte by the gate's wire, and back", &self.echo),
        ]
    }
}

const INSTALLS: [&str; 8] = [
    "",
    "sent, MB",
    "written, MB",
    "plain writing, s",
    "at PID 1's port, s",
    "by the gate, s",
    "port / plain",
    "gate / plain",
];

impl Installs {
    fn row(&self, what: &str) -> [String; INSTALLS.len()] {
        let seconds = |it: &TimeSample| format!("{:.2}", it.median());
        [
            what.to_owned(),
            megabytes(self.sent),
            megabytes(self.written),
            seconds(&self.plain),
            seconds(&self.port),
            seconds(&self.gate),
            ratio(&self.port, &self.plain),
            ratio(&self.gate, &self.plain),
        ]
    }
}

fn memory(what: &str, runs: &[GateMemory]) -> [String; 3] {
    let middle = |of: fn(&GateMemory) -> u64| {
        let mut all: Vec<u64> = runs.iter().map(of).collect();
        all.sort_unstable();
        let of_two = [all.len().saturating_sub(1) / 2, all.len() / 2];
        let [low, high] = of_two.map(|at| all.get(at).copied().unwrap_or_default());
        u64::midpoint(low, high)
    };
    [what.to_owned(), megabytes(middle(|it| it.charged)), megabytes(middle(|it| it.resident))]
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / MB)
}

fn ratio(of: &TimeSample, beside: &TimeSample) -> String {
    format!("{:.2} ×", of.median() / beside.median())
}

/// What there is so far, in one line.
pub fn brief(live: &LiveRuns) -> String {
    let after = memory("", &live.after);
    format!(
        "the gate {} of PID 1's port, {} of the wire; install {} and {} of plain writing; \
         the gate has {} MB",
        ratio(&live.gate, &live.port),
        ratio(&live.gate, &live.echo),
        ratio(&live.whole.gate, &live.whole.plain),
        ratio(&live.small.gate, &live.small.plain),
        after[1],
    )
}

const ABOUT: &str = "\
```
cargo image bench --only box
```

A box on x86_64 that was just flashed and is started by its firmware, with one operator and the key of
one signer in its settings, and one unit besides that measures from inside. Its network is QEMU's own
(`-netdev user`), out of which nothing leads but the gate's port to this computer.
";

const REACH: &str = "\
The gate: the owner's program, from its start to its end: TCP, the TLS handshake, the box's certificate,
the list of verbs, `status`. The same at PID 1's port (virtio-serial), where there is neither a gate nor
cryptography; that program asks for the list of verbs twice. The wire alone: a connection to the same port
by the same kind of wire, and one byte that comes back, of a guest in which a program that echoes stands in
the gate's place.
";

const UPDATES: &str = "\
`update install` by both ways, again as programs of the owner's, from their start to their end; beside a
program in the same guest that writes files of the same sizes onto the same partition, a MiB at once, and
has each on the medium (fsync). An installation also takes the bytes from the owner, checks them,
unmounts, mounts, reads all back and compares. The first release is what runs with every bit turned: as
long, as compressible, and with no chunk that the box has. The other has one file of a line changed, and is
signed without a patch: the box has the same kernel, and writes an initramfs of which it has most chunks.
";

const MEMORY: &str = "\
The gate, ten seconds after anything happened. Charged is what `status` shows (`memory.current`): pages of
files that it was the first to need and the kernel's own for it are in it, pages that another unit needed
first are not, though they are in what is resident.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> LiveRuns {
        let installs = |plain: u64, port: u64, gate: u64| Installs {
            written: 18_000_000,
            sent: 9_000_000,
            gate: [gate].into(),
            port: [port].into(),
            plain: [plain].into(),
        };
        let memory = |charged| GateMemory { charged, resident: 3_000_000 };
        LiveRuns {
            runs: 2,
            gate: [60, 80].into(),
            port: [35, 35].into(),
            echo: [7, 7].into(),
            whole: installs(500, 2000, 4000),
            small: installs(400, 800, 1000),
            before: vec![memory(1_000_000), memory(1_500_000)],
            after: vec![memory(2_000_000), memory(1_000_000), memory(5_000_000)],
        }
    }

    #[test]
    fn everything_stands_beside_its_floor() {
        let page = live().markdown();
        assert!(page.starts_with(TITLE) && page.ends_with("|\n"), "{page}");
        for row in [
            "| `octetctl --box … status`, by the gate | 70.0 | 60.0 | 80.0 | 1.00 × |",
            "| `cargo image ctl status`, at PID 1's port | 35.0 | 35.0 | 35.0 | 2.00 × |",
            "| one byte by the gate's wire, and back | 7.0 | 7.0 | 7.0 | 10.00 × |",
            "| nothing in common | 9.00 | 18.00 | 0.50 | 2.00 | 4.00 | 4.00 × | 8.00 × |",
            "| one line differs | 9.00 | 18.00 | 0.40 | 0.80 | 1.00 | 2.00 × | 2.50 × |",
            "| before anybody came | 1.25 | 3.00 |",
            "| one operator came and went | 2.00 | 3.00 |",
        ] {
            assert!(page.contains(row), "{row}\n{page}");
        }
        // No run at all is no reason to fail.
        LiveRuns::default().markdown();
    }
}
