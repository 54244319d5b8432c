//! The chain of each rule, which an allowed flow passes; beside it there is a counter of the same
//! name.

use std::fmt;

use super::super::built_in::BuiltIn;
use super::super::chain::{NftChain, NftRule};
use super::super::plan::{RouterPlan, RuleSource};
use super::super::text::over;

/// Echo requests per second that the router answers on each port.
const PINGS: u32 = 20;

/// Prefixes of the chain names of policies and of built-in rules.
const POLICY: &str = "policy_";
const BUILT_IN: &str = "built_in_";

/// The name of a rule's chain and counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainName {
    /// The chain of the policy with this id.
    Policy(u32),
    /// The chain of a built-in rule.
    BuiltIn(BuiltIn),
}

impl ChainName {
    /// The name for the rule `by` of `plan`.
    pub fn of(plan: &RouterPlan, by: RuleSource) -> Self {
        match by {
            RuleSource::Policy(index) => Self::Policy(plan.policies[index].id),
            RuleSource::BuiltIn(line) => Self::BuiltIn(line),
        }
    }

    /// Whether a chain of this name belongs to a rule, which may not exist any more.
    pub fn is_one(listed: &str) -> bool {
        listed.starts_with(POLICY) || listed.starts_with(BUILT_IN)
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(id) => write!(f, "{POLICY}{id:08x}"),
            Self::BuiltIn(line) => write!(f, "{BUILT_IN}{}", line.name().replace('-', "_")),
        }
    }
}

/// The chain of the rule `by`.
pub(super) fn chain(plan: &RouterPlan, by: RuleSource) -> NftChain {
    let name = ChainName::of(plan, by);
    let (limit, comment) = match by {
        RuleSource::Policy(index) => {
            let policy = &plan.policies[index];
            (policy.rate.map(|rate| limit(rate.into())), policy.text.clone())
        }
        RuleSource::BuiltIn(line) => ((line == BuiltIn::Ping).then(pings), by.to_string()),
    };
    let accept = NftRule::from(format!("counter name {name} accept")).commented(&comment);
    NftChain([Some("jump new".into()), limit, Some(accept)].into_iter().flatten().collect())
}

fn limit(rate: u32) -> NftRule {
    format!("{} goto too_many", over(rate)).into()
}

/// The only built-in rule with a rate limit; the limit is per port.
fn pings() -> NftRule {
    format!("update @pings {{ iifname {} }} goto too_many", over(PINGS)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on_board::OnBoard;
    use crate::router::firewall::{LoadedChains, table};
    use octet_appliance::Appliance;

    const BEGINS: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 4\n";

    fn plan(ports: &[u16]) -> RouterPlan {
        let line = |port: &u16| {
            format!(
                "[[policy]]\nfrom = \"board-1\"\nto = \"board-2\"\nprotocol = \"tcp\"\nports = [{port}]\nrate = 1\n"
            )
        };
        let text = BEGINS.to_owned() + &ports.iter().map(line).collect::<String>();
        let appliance = Appliance::parse("appliance.toml", &text).unwrap();
        let settings = appliance.cluster_settings().unwrap();
        RouterPlan::new(&settings, &[]).unwrap()
    }

    /// The policies' elements of the map of ports, and their chains with their rules.
    fn made(plan: &RouterPlan) -> (Vec<String>, Vec<(String, String)>) {
        let table = table(plan, &OnBoard::default(), None, false);
        let map = table.sets.into_iter().find(|set| set.name == "forward_port").unwrap();
        let mut elements = map.elements;
        elements.retain(|it| it.contains(POLICY));
        let chains = table.chains.into_iter().filter(|(name, _)| name.starts_with(POLICY));
        let chains: Vec<_> = chains.map(|(name, chain)| (name, chain.to_string())).collect();
        assert!(chains.iter().all(|(name, _)| table.counters.contains(name)));
        (elements, chains)
    }

    /// The SHA-256 digests of these two policies begin with the same 32 bits.
    #[test]
    fn two_lines_never_share_a_chain() {
        let two = plan(&[13094, 28605]);
        let (elements, chains) = made(&two);
        let ids = two.policies.iter().map(|it| it.id);
        assert_eq!(ids.collect::<Vec<_>>(), [0xcd06_10f7, 0xcd06_10f8]);
        let element = |port, id| format!("\"eth1\" . \"eth2\" . tcp . {port} : goto policy_{id}");
        assert_eq!(elements, [element(13094, "cd0610f7"), element(28605, "cd0610f8")]);
        assert_eq!(chains.len(), 2);
        for ((name, rules), port) in chains.iter().zip(["13094", "28605"]) {
            assert!(rules.contains(&format!("counter name {name} accept comment")), "{rules}");
            assert!(rules.contains(&format!("tcp {port}, ")), "{rules}");
        }
        // Independent of the order, and with the id that the rule has alone.
        assert_eq!(made(&plan(&[28605, 13094])).1, chains);
        assert_eq!(made(&plan(&[13094])).1, chains[..1]);
        assert_eq!(made(&plan(&[28605])).0, [element(28605, "cd0610f7")]);
    }

    /// Only chains of removed rules are deleted.
    #[test]
    fn a_chain_goes_with_its_line() {
        let table = table(&plan(&[13094]), &OnBoard::default(), None, false);
        let names = ["input", "policy_cd0610f7", "policy_00000002", "built_in_none", "by_forward"];
        let there = LoadedChains(names.map(str::to_owned).into());
        assert_eq!(there.removed(&table).collect::<Vec<_>>(), ["built_in_none", "policy_00000002"]);
    }

    /// Policies with the same text are one rule.
    #[test]
    fn the_same_line_twice_has_one_chain() {
        let twice = plan(&[13094, 13094]);
        assert_eq!(twice.policies.len(), 2);
        assert_eq!(made(&twice), made(&plan(&[13094])));
    }
}
