//! What update can be asked.

use octet_node::control::{ArgKind, Capability, ColumnKind, DESCRIBE, Verb};
use octet_node::settings;

/// Every verb; `describe` answers with this list.
pub fn verbs() -> Vec<Verb> {
    use Capability::{Read, Update};

    let own = vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        Verb::new("status", Read, "Shows the slots, which of them runs, and which one starts next")
            .shown(ColumnKind::Bytes, &["free"]),
        Verb::new(
            "install",
            Update,
            "Writes a signed update as a new slot; it is tried at the next start",
        )
        .required("file", ArgKind::File, "what `cargo image bundle` made")
        .shown(ColumnKind::Bytes, &["size", "received", "copied", "patched", "shared"]),
        Verb::new(
            "rollback",
            Update,
            "Has the next start take the newest other slot that was good",
        ),
    ];
    own.into_iter().chain(settings::verbs()).collect()
}
