//! The section of docs/BENCHMARKS.md on messages.

use std::fmt::Write;

use super::{LETTERS, LOAD, Messenger, Runs};
use crate::page::table;
use crate::sample::{TimeSample, middle};

/// The heading by which the section is found again.
pub const TITLE: &str = "## Messages";

/// What a message may take until it is shown, in milliseconds.
const GOAL_SHOWN: f64 = 20.0;

/// What one mailbox is to take in a second.
const GOAL_TAKEN: f64 = 2000.0;

/// What an idle mailbox may have, in MB.
const GOAL_IDLE: f64 = 14.0;

impl Messenger {
    /// The section, its heading included.
    pub fn markdown(&self) -> String {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let about = ABOUT
            .replace("$processors", &processors.to_string())
            .replace("$messages", &LETTERS.to_string())
            .replace("$load", &LOAD.to_string());
        let mut page = format!("{TITLE}\n\n{about}\nMedians of {} runs, in turn.\n\n", self.runs);
        table(&mut page, ["", "in memory", "on disk", "goal", ""], self.rows().into_iter());
        let _ = writeln!(page, "\n{BYTES}");
        table(&mut page, ["", "bytes", "this / Olm in JSON"], self.bytes().into_iter());
        page
    }

    fn rows(&self) -> [[String; 5]; 7] {
        let row = |what: &str, of: &dyn Fn(&Runs) -> f64, digits: usize| {
            let [memory, disk] = [&self.places[0], &self.places[1]].map(of);
            let number = |it: f64| format!("{it:.digits$}");
            ([what.to_owned(), number(memory), number(disk), String::new(), String::new()], memory)
        };
        let plain = |(cells, _): ([String; 5], f64)| cells;
        let goal = |(mut cells, memory): ([String; 5], f64), goal: f64, is_most: bool| {
            let (sign, is_met) =
                if is_most { ("≤", memory <= goal) } else { ("≥", memory >= goal) };
            cells[3] = format!("{sign} {goal}");
            cells[4] = (if is_met { "met" } else { "**missed**" }).to_owned();
            cells
        };
        let ms = |sample: &TimeSample, part: f64| sample.at(part) * 1e3;
        let of = |all: &[f64]| middle(all.iter().copied());
        [
            plain(row("until it is shown, median, ms", &|it| ms(&it.shown, 0.5), 2)),
            goal(
                row("until it is shown, 99 of 100, ms", &|it| ms(&it.shown, 0.99), 2),
                GOAL_SHOWN,
                true,
            ),
            plain(row(
                "of that, until it lies in the mailbox, median, ms",
                &|it| ms(&it.left, 0.5),
                2,
            )),
            goal(
                row("messages that a mailbox takes in a second", &|it| of(&it.taken), 0),
                GOAL_TAKEN,
                false,
            ),
            plain(row("of what its store alone commits", &|it| of(&it.taken) / of(&it.floor), 2)),
            goal(
                row("memory of a mailbox that is idle, MB", &|it| of(&it.idle) / 1e6, 1),
                GOAL_IDLE,
                true,
            ),
            plain(row("memory of one that has taken all that, MB", &|it| of(&it.busy) / 1e6, 1)),
        ]
    }

    fn bytes(&self) -> [[String; 3]; 3] {
        let row = |what: &str, bytes: u64| {
            let ratio = format!("{:.2} ×", bytes as f64 / self.olm_in_json as f64);
            [what.to_owned(), bytes.to_string(), ratio]
        };
        [
            row("leaving it", self.sent),
            row("fetching it, and saying that it is there", self.fetched),
            row("Olm in JSON, the message alone", self.olm_in_json),
        ]
    }
}

/// What there is so far, in one line.
pub fn brief(all: &Messenger) -> String {
    let rows = all.rows();
    format!("shown after {} ms, {} messages in a second", rows[0][1], rows[3][1])
}

const ABOUT: &str = "\
```
cargo image bench --only messenger
```

Two mailboxes on this computer itself ([messenger.md](messenger.md)): processes of messenger's own code, compiled as
what ships, reached by QUIC on loopback, all by its $processors processors. Somebody
at the one writes $messages messages of 100 bytes to somebody at the other, who follows (`octet-msg receive --follow`): from
the text until it is in the receiver's file and is about to be printed. The next one is written then, while the receiver has
this one deleted in the mailbox, confirms it to its writer, and encrypts its file anew. Then eight addresses leave $load messages
each at one mailbox, all at once; each is on its disk before it is answered. Beside it: as many commits of as many bytes
by the same store (redb), nothing else. Goals are held against the files in memory: a board has a flash of its own.
";

const BYTES: &str = "\
A message of 100 bytes in a session that stands: requests and answers, without what QUIC and UDP put around them.
Envelopes are as long as a power of two, 1 KiB at least, so that their length says little of what is in them; the card
of who has written is in it, for answers. Beside it the same text as a message of Olm in base64 within JSON, with the
names of keys and people that go with it there.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_beside_its_goal() {
        let place = |taken| Runs {
            shown: [10, 20, 60].into(),
            left: [4, 5, 6].into(),
            taken: vec![taken],
            floor: vec![4000.0],
            idle: vec![12e6],
            busy: vec![20e6],
        };
        let all = Messenger {
            runs: 1,
            places: [place(2500.0), place(500.0)],
            sent: 1200,
            fetched: 1800,
            olm_in_json: 600,
        };
        let page = all.markdown();
        for line in [
            "| until it is shown, median, ms | 20.00 | 20.00 |  |  |",
            "| until it is shown, 99 of 100, ms | 60.00 | 60.00 | ≤ 20 | **missed** |",
            "| messages that a mailbox takes in a second | 2500 | 500 | ≥ 2000 | met |",
            "| of what its store alone commits | 0.62 | 0.12 |  |  |",
            "| memory of a mailbox that is idle, MB | 12.0 | 12.0 | ≤ 14 | met |",
            "| leaving it | 1200 | 2.00 × |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(!page.contains('$'));
        // Nothing was measured, and nothing is divided by nothing.
        Messenger::default().markdown();
    }
}
