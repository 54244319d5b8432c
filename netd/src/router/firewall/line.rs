//! What becomes of a flow that a line lets: each line has a chain, and beside it a counter of the same name.

use std::fmt;

use super::super::built_in::BuiltIn;
use super::super::chain::{Chain, Rule};
use super::super::plan::{Plan, Source};
use super::super::text::over;

/// How many echo requests the router answers on each port in a second.
const PINGS: u32 = 20;

/// What the names of chains begin with that are policies', and built-in lines'.
const POLICY: &str = "policy_";
const BUILT_IN: &str = "built_in_";

/// The name of a line's chain, and of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// That of the policy with this id.
    Policy(u32),
    /// That of a built-in line.
    BuiltIn(BuiltIn),
}

impl Name {
    /// Of the line `by` of `plan`.
    pub fn of(plan: &Plan, by: Source) -> Self {
        match by {
            Source::Policy(index) => Self::Policy(plan.lines[index].id),
            Source::BuiltIn(line) => Self::BuiltIn(line),
        }
    }

    /// Whether a chain of this name that the kernel has was made for a line, there may be none any more.
    pub fn is_one(listed: &str) -> bool {
        listed.starts_with(POLICY) || listed.starts_with(BUILT_IN)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(id) => write!(f, "{POLICY}{id:08x}"),
            Self::BuiltIn(line) => write!(f, "{BUILT_IN}{}", line.name().replace('-', "_")),
        }
    }
}

/// The chain of the line `by`.
pub(super) fn chain(plan: &Plan, by: Source) -> Chain {
    let name = Name::of(plan, by);
    let (limit, comment) = match by {
        Source::Policy(index) => {
            let line = &plan.lines[index];
            (line.rate.map(|rate| limit(rate.into())), line.text.clone())
        }
        Source::BuiltIn(line) => ((line == BuiltIn::Ping).then(pings), by.to_string()),
    };
    let accept = Rule::from(format!("counter name {name} accept")).commented(&comment);
    Chain([Some("jump new".into()), limit, Some(accept)].into_iter().flatten().collect())
}

fn limit(rate: u32) -> Rule {
    format!("{} goto too_many", over(rate)).into()
}

/// The one built-in line that has a rate has it for each port.
fn pings() -> Rule {
    format!("update @pings {{ iifname {} }} goto too_many", over(PINGS)).into()
}
