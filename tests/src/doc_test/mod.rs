//! Commands of README.md and of the guides in `docs`, taken out of their text and run in order.
//!
//! A fenced block of commands is followed by a comment that no reader of the rendered page sees. It says what each
//! command prints. A command without such a line is an error, so that nothing is written there that nobody has run:
//!
//! ```text
//! <!-- test
//! 1 > …  ready  …
//! 2 skip the tests of the appliance run it
//! -->
//! ```
//!
//! A line begins with the number of a command of the block. What comes then is:
//!
//! | line | meaning |
//! |---|---|
//! | `N ok` | It ends with success, and what it prints does not matter. |
//! | `N > TEXT` | The command prints a line that is `TEXT`, after those of the lines before. `…` stands for anything, a blank for one or more, `{NAME}` for a word that is kept under that name, or that was. |
//! | `N until TEXT` | The command goes on; the next one is run once it has printed `TEXT`. |
//! | `N stop` | What goes on and was started last gets ctrl-C after this command, and ends with success or by that. |
//! | `N ends` | What goes on and was started last ends with success after this command. |
//! | `N ask TEXT = ANSWER` | When it prints `TEXT`, `ANSWER` and the return key are typed. |
//! | `N retry` | It is typed again until it prints its lines. |
//! | `N with WORD = TEXT` | `TEXT` is typed instead of `WORD`. |
//! | `N sh COMMAND` | What a person does before, as a command of the shell. |
//! | `N lan [NAME]` | It is run in the lan of the box, by the person of this name. |
//! | `N fails` | It does not end with success. |
//! | `N skip REASON` | It is not run. |
//!
//! A letter after the number tells runs of one command apart: `2a`, `2b`. Instead of a number `*` stands for all runs of
//! the block; `* with` counts where the word is, and `* lan` not for `cargo`.

/// The guides that are walked, in this order, on one box.
pub const GUIDES: [&str; 13] = [
    "docs/cache.md",
    "docs/cache-http.md",
    "docs/messenger.md",
    "docs/forwarding.md",
    "docs/segments.md",
    "docs/openwrt.md",
    "docs/troubleshooting.md",
    "docs/logs.md",
    "docs/own-service.md",
    "docs/config.md",
    "docs/cluster.md",
    "docs/gate.md",
    "docs/updates.md",
];

mod page;
mod person;

pub use page::{Command, Page, Run};
pub use person::Person;
