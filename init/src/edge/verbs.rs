//! What PID 1 can be asked.

use octet_control::{ArgKind, Capability, ColumnKind, DESCRIBE, UNITS, Verb, logs_verb};

/// Verbs by which a slot that is on trial can be kept from becoming good: what was installed is undone.
const UNDO_A_TRIAL: [&str; 5] = ["stop", "restart", "signal", "poweroff", "reboot"];

/// Every verb; `describe` answers with this list, and nothing else knows it. While the slot is on trial
/// (`on_trial`) some need what installing has needed.
pub fn verbs(on_trial: bool) -> Vec<Verb> {
    let mut verbs = all();
    for verb in &mut verbs {
        if on_trial && UNDO_A_TRIAL.contains(&verb.name.as_str()) {
            verb.capability = Capability::Update;
        }
    }
    verbs
}

fn all() -> Vec<Verb> {
    use Capability::{Operate, Own, Read};

    let status = |name, help| {
        Verb::new(name, Read, help)
            .shown(
                ColumnKind::Bytes,
                &["total", "available", "init_rss", "memory", "received", "sent"],
            )
            .shown(
                ColumnKind::Milliseconds,
                &[
                    "uptime",
                    "ready_at",
                    "init_cpu",
                    "since",
                    "cpu",
                    "first_started",
                    "first_ready",
                    "next_try",
                ],
            )
    };
    let of_unit =
        |name, help| Verb::new(name, Operate, help).required("unit", ArgKind::Text, "The unit");
    vec![
        Verb::new(DESCRIBE, Read, "Lists these verbs"),
        status("status", "Shows the state of the box and of every unit").optional(
            "box",
            ArgKind::Flag,
            "Shows each node of the box instead, with its port; asked of the router",
        ),
        Verb::new(
            UNITS,
            Read,
            "Lists the units that have verbs of their own, and what each is for",
        ),
        status("watch", "Shows the state again whenever it changes"),
        Verb::new("boot", Read, "Shows slot, data partition and phases of this boot")
            .optional(
                "plot",
                ArgKind::Flag,
                "What to draw of the boot instead (on a command line: SVG)",
            )
            .shown(ColumnKind::Bytes, &["size", "free"])
            .shown(ColumnKind::Milliseconds, &["start", "took", "ready_at"])
            .shown(ColumnKind::Drawing, &["drawing"]),
        Verb::new(
            "board",
            Own,
            "Takes which board this is, where neither command line nor flash says it",
        )
        .required("number", ArgKind::Integer, "1 to 32, as the port is numbered"),
        Verb::new("place", Own, "Takes which units run on this board, until the next start")
            .required("units", ArgKind::Text, "Those that run here of the units that boards name")
            .optional(
                "of",
                ArgKind::Option,
                "All units that boards name, if not those of the image",
            ),
        logs_verb(),
        of_unit("start", "Starts a unit, and what it needs; a failed one gets a new budget"),
        of_unit("stop", "Stops a unit, after those that need it"),
        of_unit("restart", "Stops a unit, after those that need it, and starts all of them again"),
        of_unit("reload", "Has a unit read its settings again"),
        of_unit("signal", "Sends a signal to a unit's main process").required(
            "signal",
            ArgKind::Text,
            "TERM, INT, QUIT, HUP or KILL",
        ),
        Verb::new("poweroff", Operate, "Stops every unit and powers off"),
        Verb::new("reboot", Operate, "Stops every unit and starts again"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_only_operate_ends_no_trial() {
        let needs = |on_trial, name: &str| {
            verbs(on_trial).into_iter().find(|verb| verb.name == name).unwrap().capability
        };
        for name in UNDO_A_TRIAL {
            let both = (needs(false, name), needs(true, name));
            assert_eq!(both, (Capability::Operate, Capability::Update), "{name}");
        }
        for verb in verbs(true) {
            let changed = UNDO_A_TRIAL.contains(&verb.name.as_str());
            assert_eq!(needs(false, &verb.name) != verb.capability, changed, "{}", verb.name);
        }
    }
}
