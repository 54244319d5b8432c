//! The verbs of PID 1.

use octet_control::{ArgKind, ColumnKind, DESCRIBE, PLOT, Permission, UNITS, Verb, logs_verb};

/// Verbs that can keep a slot on trial from becoming good, and so undo an update.
const TRIAL_ENDING_VERBS: [&str; 5] = ["stop", "restart", "signal", "poweroff", "reboot"];

/// Every verb; `describe` answers with this list, and nothing else knows it. While the slot is on
/// trial (`on_trial`), verbs that can undo the update need the same permission as installing it.
pub fn verbs(on_trial: bool) -> Vec<Verb> {
    let mut verbs = all();
    for verb in &mut verbs {
        if on_trial && TRIAL_ENDING_VERBS.contains(&verb.name.as_str()) {
            verb.capability = Permission::Update;
        }
    }
    verbs
}

fn all() -> Vec<Verb> {
    use Permission::{Operate, Own, Read};

    let status = |name, help| {
        Verb::new(name, Read, help)
            .columns(
                ColumnKind::Bytes,
                &["total", "available", "init_rss", "memory", "received", "sent"],
            )
            .columns(
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
        Verb::new(DESCRIBE, Read, "Lists these verbs, for programs").internal(),
        status("status", "Shows the state of the node and of every unit")
            .optional("box", ArgKind::Flag, "Show each node of the box instead; ask the router")
            .optional(PLOT, ArgKind::Flag, "With `--box`: draw the box as SVG instead")
            .columns(ColumnKind::Drawing, &["drawing"]),
        Verb::new(UNITS, Read, "Lists the units that have verbs, with descriptions"),
        status("watch", "Prints the state at every change"),
        Verb::new("boot", Read, "Shows slot, data partition and phases of the current boot")
            .optional(PLOT, ArgKind::Flag, "Draw the boot as SVG instead")
            .columns(ColumnKind::Bytes, &["size", "free"])
            .columns(ColumnKind::Milliseconds, &["start", "took", "ready_at"])
            .columns(ColumnKind::Drawing, &["drawing"]),
        Verb::new(
            "board",
            Own,
            "Sets the board number, if neither kernel command line nor flash has it",
        )
        .internal()
        .required("number", ArgKind::Integer, "The number of its port: 1 to 32"),
        Verb::new(
            "place",
            Own,
            "Sets which scheduled units run on this board, until the next boot",
        )
        .internal()
        .required("units", ArgKind::Text, "The scheduled units that run here")
        .optional(
            "of",
            ArgKind::Option,
            "All scheduled units; default: those of the image",
        ),
        logs_verb(),
        of_unit(
            "start",
            "Starts a unit and its dependencies; resets the restart limit of a failed one",
        ),
        of_unit("stop", "Stops a unit, and before it the units that depend on it"),
        of_unit("restart", "Restarts a unit and the units that depend on it"),
        of_unit("reload", "Reloads a unit's settings"),
        of_unit("signal", "Sends a signal to a unit's main process").required(
            "signal",
            ArgKind::Text,
            "TERM, INT, QUIT, HUP or KILL",
        ),
        Verb::new("poweroff", Operate, "Stops all units and powers off"),
        Verb::new("reboot", Operate, "Stops all units and reboots"),
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
        for name in TRIAL_ENDING_VERBS {
            let both = (needs(false, name), needs(true, name));
            assert_eq!(both, (Permission::Operate, Permission::Update), "{name}");
        }
        for verb in verbs(true) {
            let changed = TRIAL_ENDING_VERBS.contains(&verb.name.as_str());
            assert_eq!(needs(false, &verb.name) != verb.capability, changed, "{}", verb.name);
        }
    }
}
