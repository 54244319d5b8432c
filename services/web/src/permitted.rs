//! Which verbs the operator may use, as each node's gate says: pages show no button that could only be refused. The gate
//! checks each call all the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::nodes::Nodes;

/// How long an answer is used: for it, a gate calls all units.
const LIFETIME: Duration = Duration::from_secs(60);

const GATE: &str = "gate";

#[derive(Default)]
pub struct PermittedVerbs {
    by_node: Mutex<HashMap<u8, (Instant, Arc<str>)>>,
}

impl PermittedVerbs {
    /// Whether the operator may use `verb` of `unit`, or the gate does not say.
    pub fn may(&self, nodes: &Nodes, node: u8, unit: &str, verb: &str) -> bool {
        let listed = self.list(nodes, node);
        listed.is_empty() || lists(&listed, unit, verb)
    }

    fn list(&self, nodes: &Nodes, node: u8) -> Arc<str> {
        let by_node = || self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((since, list)) = by_node().get(&node)
            && now < *since + LIFETIME
        {
            return Arc::clone(list);
        }
        let answer = nodes.read(node, GATE, "verbs", Value::Null);
        let list: Arc<str> =
            answer.ok().and_then(|it| Some(it.end.as_str()?.into())).unwrap_or_default();
        by_node().insert(node, (now, Arc::clone(&list)));
        list
    }
}

/// Whether a line of `list` is `UNIT VERB ARGUMENTS: help`.
fn lists(list: &str, unit: &str, verb: &str) -> bool {
    let rest = |line: &str| -> Option<bool> {
        let rest = line.strip_prefix(unit)?.strip_prefix(' ')?.strip_prefix(verb)?;
        Some(rest.starts_with([' ', ':']))
    };
    list.lines().any(|line| rest(line) == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_name_a_unit_and_a_verb() {
        let list = "init status: Shows the state\ninit restart UNIT: Restarts a unit\ncache ls [after=TEXT]: Lists";
        for (unit, verb, listed) in [
            ("init", "status", true),
            ("init", "restart", true),
            ("cache", "ls", true),
            ("init", "stat", false),
            ("cache", "status", false),
            ("ini", "t", false),
        ] {
            assert_eq!(lists(list, unit, verb), listed, "{unit} {verb}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(list: String, unit: String, verb: String) {
            let _ = lists(&list, &unit, &verb);
            let with_line = format!("{list}\nunit verb: help");
            prop_assert!(lists(&with_line, "unit", "verb"));
        }
    }
}
