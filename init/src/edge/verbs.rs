//! What PID 1 can be asked.

use octet_control::{ArgKind, Capability, ColumnKind, DESCRIBE, Verb};

/// Every verb; `describe` answers with this list, and nothing else knows it.
pub fn verbs() -> Vec<Verb> {
    use Capability::{Operate, Read};

    let status = |name, help| {
        Verb::new(name, Read, help)
            .shown(ColumnKind::Bytes, &["total", "available", "init_rss"])
            .shown(ColumnKind::Milliseconds, &["uptime", "ready_at", "since"])
    };
    vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        status("status", "Shows the state of the box and of every unit"),
        status("watch", "Shows the state again whenever it changes"),
        Verb::new("boot", Read, "Shows slot, data partition and phases of this boot")
            .shown(ColumnKind::Bytes, &["size", "free"])
            .shown(ColumnKind::Milliseconds, &["start", "took", "ready_at"]),
        Verb::new("logs", Read, "Shows the last output of a unit")
            .required("unit", ArgKind::Text, "The unit")
            .optional("lines", ArgKind::Integer, "How many lines at most")
            .shown(ColumnKind::Lines, &["lines"]),
        Verb::new("signal", Operate, "Sends a signal to a unit's main process")
            .required("unit", ArgKind::Text, "The unit")
            .required("signal", ArgKind::Text, "TERM, INT, QUIT, HUP or KILL"),
        Verb::new("poweroff", Operate, "Stops every unit and powers off"),
        Verb::new("reboot", Operate, "Stops every unit and starts again"),
    ]
}
