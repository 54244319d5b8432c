//! `appliance.toml` of a box with a router: the resulting plan, and the rules for the kernel.

use octet_appliance::Appliance;
use octet_netd::port_bindings::PortBindings;
use octet_netd::router::firewall::LoadedChains;
use octet_netd::router::plan::{Decision, RouterPlan, RuleSource};
use octet_netd::rules::NodeTables;

/// Every accepted file results in a plan. The decision about the first port of each allow rule
/// names that rule. The ruleset contains no `$` of a template, and its quotes are paired.
pub fn segments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(appliance) = Appliance::parse("appliance.toml", text) else { return };
    let Some(settings) = appliance.cluster_settings() else { return };
    let Ok(plan) = RouterPlan::new(&settings, &[]) else { return };
    let entries: Vec<_> = plan.allowed.entries().collect();
    assert!(entries.is_sorted_by(|(one, first), (other, second)| {
        one != other || first.ports.last < second.ports.first
    }));
    for (flow, it) in entries {
        assert_ne!(flow.0, flow.1);
        assert!(it.ports.first <= it.ports.last);
        assert!(!matches!(it.rule, RuleSource::Policy(index) if index >= plan.policies.len()));
        let decision = plan.decide(flow, it.ports.first, None);
        assert_eq!(decision, Decision::Allowed(it.rule));
    }
    let rules = NodeTables::router(&plan, &[], &PortBindings::default(), true)
        .whole(&LoadedChains::default());
    assert!(!rules.contains('$'), "{rules}");
    let quotes = rules.matches('"').count();
    assert_eq!(quotes % 2, 0, "{rules}");
    assert!(rules.matches('{').count() >= rules.lines().filter(|line| line.ends_with('{')).count());
}
