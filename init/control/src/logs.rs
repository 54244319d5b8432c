//! The verb that two units have: logd answers it, and PID 1 offers the same and hands it on to logd,
//! so that an operator need not know who keeps the log.

use octet_appliance::operator::Capability;

use crate::verb::{ArgKind, ColumnKind, Verb};

/// Its name.
pub const LOGS: &str = "logs";

/// The verb.
pub fn logs_verb() -> Verb {
    Verb::new(LOGS, Capability::Read, "Shows what units and the kernel have said")
        .optional(
            "unit",
            ArgKind::Text,
            "Only this unit's lines; `kernel` for the kernel's, and what `netd` dropped",
        )
        .optional("since", ArgKind::Option, "Only from then on: `10m` ago, or a date (UTC)")
        .optional("boot", ArgKind::Flag, "Only from this start of the board on")
        .optional(
            "lines",
            ArgKind::Integer,
            "No more than the last N (100 without `since` and `boot`)",
        )
        .optional("follow", ArgKind::Flag, "Goes on with what comes")
        .short('f')
        .optional("fields", ArgKind::Flag, "Each line as its fields, for programs")
        .shown(ColumnKind::Lines, &["lines"])
}
