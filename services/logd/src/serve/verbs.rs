//! The verbs of logd.

use octet_node::control::{ColumnKind, DESCRIBE, Permission, Verb, logs_verb};

/// All verbs; `describe` returns this list.
pub fn verbs() -> Vec<Verb> {
    use Permission::Read;

    vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs, for programs").internal(),
        logs_verb(),
        Verb::new("stats", Read, "Shows how much log is stored, and how much was lost")
            .columns(ColumnKind::Bytes, &["stored", "waiting", "torn", "bytes", "lost"]),
    ]
}
