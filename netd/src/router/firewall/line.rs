//! What becomes of a flow that a line lets: each line has a chain, and beside it a counter of the same name.

use std::fmt;

use super::super::built_in::BuiltIn;
use super::super::chain::{Chain, Rule, rules};
use super::super::plan::{Plan, Source};
use super::super::text::over;

/// The mark of flows that no policy has let, but something else.
pub const NO_LINE: u32 = 0;

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
    let (mark, limit, comment) = match by {
        Source::Policy(index) => {
            let line = &plan.lines[index];
            let limit = line.rate.map(|rate| rules_over(rate.into()));
            (line.id, limit.unwrap_or_default(), line.text.clone())
        }
        Source::BuiltIn(line) => {
            let limit = if line == BuiltIn::Ping { pings() } else { vec![] };
            (NO_LINE, limit, by.to_string())
        }
    };
    let accept = format!("counter name {name} ct mark set {mark:#x} accept");
    let mut rules = rules!["jump new"];
    rules.extend(limit);
    rules.push(Rule::from(accept).commented(&comment));
    Chain(rules)
}

fn rules_over(rate: u32) -> Vec<Rule> {
    let limit = over(rate);
    rules!["{limit} goto too_many"]
}

/// The one built-in line that has a rate has it for each port.
fn pings() -> Vec<Rule> {
    let limit = over(PINGS);
    rules!["update @pings {{ iifname {limit} }} goto too_many"]
}
