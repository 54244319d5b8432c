//! Runs the commands of README.md and of the guides in `docs`, in order.
//!
//! A fenced block of commands is followed by a comment that the rendered page does not show. It has
//! the expected output of each command. A command without such a line is an error, so that the
//! pages have no command that is never run:
//!
//! ```text
//! <!-- test
//! 1 > …  ready  …
//! 2 skip the tests of the appliance run it
//! -->
//! ```
//!
//! A line begins with the number of a command in the block, which is followed by:
//!
//! | line | meaning |
//! |---|---|
//! | `N ok` | The command succeeds; its output does not matter. |
//! | `N > TEXT` | The output has the line `TEXT`, after those of the previous lines. `…` matches anything, a blank matches one or more, `{NAME}` matches a word and stores it, or matches the stored word. |
//! | `N until TEXT` | The command keeps running; the next one starts once it has printed `TEXT`. |
//! | `N stop` | The last command that keeps running gets ctrl-C after this one, and ends with success or by SIGINT. |
//! | `N ends` | The last command that keeps running ends with success after this one. |
//! | `N ask TEXT = ANSWER` | When the command prints `TEXT`, `ANSWER` and the return key are typed. |
//! | `N retry` | The command is repeated until it prints its lines. |
//! | `N with WORD = TEXT` | `TEXT` is typed instead of `WORD`. |
//! | `N sh COMMAND` | A shell command that is run before, for an action of the user. |
//! | `N lan [NAME]` | The command is run in the lan of the box, by the user of this name. |
//! | `N fails` | The command fails. |
//! | `N skip REASON` | The command is not run. |
//!
//! A letter after the number distinguishes several runs of one command: `2a`, `2b`. `*` instead of
//! a number applies to all runs of the block; `* with` applies to commands with the word, and `*
//! lan` to all commands but `cargo`.

/// The guides that are tested, in this order, on one box.
pub const GUIDES: [&str; 16] = [
    "docs/cache.md",
    "docs/cache-http.md",
    "docs/messenger.md",
    "docs/forwarding.md",
    "docs/accounts.md",
    "docs/segments.md",
    "docs/openwrt.md",
    "docs/troubleshooting.md",
    "docs/logs.md",
    "docs/own-service.md",
    "docs/config.md",
    "docs/cluster.md",
    "docs/face.md",
    "docs/web.md",
    "docs/gate.md",
    "docs/updates.md",
];

mod page;
mod person;

pub use page::{Command, Page, Run};
pub use person::Person;
