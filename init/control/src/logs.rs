//! The verb that two units have: logd answers it, and PID 1 offers the same and forwards it to
//! logd, so that an operator need not know which unit keeps the log.

use octet_appliance::operator::Permission;

use crate::verb::{ArgKind, ColumnKind, Verb};

pub const LOGS: &str = "logs";

pub fn logs_verb() -> Verb {
    Verb::new(LOGS, Permission::Read, "Shows the logs of units and of the kernel")
        .optional(
            "unit",
            ArgKind::Text,
            "Only this unit; `kernel`: the kernel and the packets that `netd` dropped",
        )
        .optional("since", ArgKind::Option, "Only from then on: `10m` (ago), or a date (UTC)")
        .optional("boot", ArgKind::Flag, "Only the current boot")
        .optional(
            "lines",
            ArgKind::Integer,
            "The last N lines; default 100 without --since and --boot",
        )
        .optional("follow", ArgKind::Flag, "Print new lines as they arrive")
        .short('f')
        .optional("fields", ArgKind::Flag, "Print the fields of each line, for programs")
        .columns(ColumnKind::Lines, &["lines"])
}
