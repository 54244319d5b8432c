//! `appliance.toml` of a box with a router: what comes of its lines, and the kernel's rules.

use octet_appliance::{Appliance, Segments};
use octet_netd::plugged::PortBindings;
use octet_netd::router::explain::Explanation;
use octet_netd::router::firewall::There;
use octet_netd::router::plan::{RouterPlan, RuleSource};
use octet_netd::rules::NodeTables;

/// Whatever is taken: a plan comes of it, each line is explained by itself where it lets something, and the
/// rules have no `$` of a template left and nothing but what nft's texts may have.
pub fn segments(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(appliance) = Appliance::parse("appliance.toml", text) else { return };
    let Some(settings) = appliance.cluster_settings() else { return };
    let Ok((segments, _)) = Segments::evaluate(&settings, &[], ("appliance.toml", text)) else {
        return;
    };
    let plan = RouterPlan::new(&settings, &segments, &[]);
    for ((from, to, traffic), lets) in &plan.lets {
        assert_ne!(from, to);
        assert!(lets.is_sorted_by(|one, other| one.ports.last < other.ports.first), "{lets:?}");
        for it in lets {
            assert!(it.ports.first <= it.ports.last);
            assert!(!matches!(it.by, RuleSource::Policy(index) if index >= plan.lines.len()));
            let answer = plan.explain(*from, *to, *traffic, it.ports.first);
            assert!(matches!(answer, Explanation::Let { by, .. } if by == it.by), "{answer:?}");
        }
    }
    let rules =
        NodeTables::router(&plan, &[], &PortBindings::default(), true).whole(&There::default());
    assert!(!rules.contains('$'), "{rules}");
    let quotes = rules.matches('"').count();
    assert_eq!(quotes % 2, 0, "{rules}");
    assert!(rules.matches('{').count() >= rules.lines().filter(|line| line.ends_with('{')).count());
}
