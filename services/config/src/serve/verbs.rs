//! What config can be asked.

use octet_node::control::settings::SECTION;
use octet_node::control::{ArgKind, Capability, ColumnKind, DESCRIBE, Verb};

/// How long a change is tried without being confirmed, in seconds: unless said, at least, at most.
pub const CONFIRM: (u64, u64, u64) = (120, 10, 3600);

/// Every verb; `describe` answers with this list. `next` is the number of the next configuration,
/// which an operator signs with it.
pub fn verbs(next: u64) -> Vec<Verb> {
    use Capability::{Configure, Read};

    let confirm = format!(
        "Seconds until it undoes itself unless it is confirmed, {} to {}; {} if not given",
        CONFIRM.1, CONFIRM.2, CONFIRM.0
    );
    vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        Verb::new("show", Read, "Shows the settings that are in force, and where they are from")
            .optional("section", ArgKind::Option, "One section only, with all that is not said")
            .shown(ColumnKind::Lines, &["text"]),
        Verb::new("diff", Read, "Shows what a file would change").required(
            "file",
            ArgKind::File,
            "A whole appliance.toml",
        ),
        Verb::new(
            "apply",
            Configure,
            "Puts a file in force, until it is confirmed or undoes itself",
        )
        .required("file", ArgKind::File, "A whole appliance.toml")
        .optional("confirm", ArgKind::Integer, &confirm)
        .signed(next),
        Verb::new("confirm", Configure, "Keeps the settings that were applied last"),
        Verb::new("history", Read, "Lists the settings that there were"),
        Verb::new("rollback", Configure, "Takes back what was not confirmed, or goes back further")
            .optional("to", ArgKind::Text, "The number of a configuration; 0 is the image's own")
            .optional("confirm", ArgKind::Integer, &confirm)
            .signed(next),
        Verb::new(SECTION, Read, "Gives a unit one of the sections that its unit file names")
            .required("section", ArgKind::Text, "Its name")
            .optional("next", ArgKind::Flag, "As it is to be, for a unit that is asked about it"),
    ]
}
