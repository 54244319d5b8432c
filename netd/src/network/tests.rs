//! Tests the order of the steps, with an in-memory backend.

mod memory;

use std::rc::Rc;
use std::sync::Arc;

use octet_appliance::{Appliance, Zone};
use tokio::runtime::Builder;
use tokio::sync::mpsc::channel;

use super::*;
use crate::conntrack::{FlowEnds, TrackedFlow};
use crate::paths::PathAllows;
use crate::port_bindings::BoundNode;
use crate::router::kind::FlowKind;
use crate::serve::ServeState;
use crate::serve::explain::explain;
use crate::serve::show::show;
use memory::{Listing, Memory, Step};

const BEGINS: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[network]\naddress = [\"192.0.2.7/24\"]\ngateway = [\"192.0.2.1\"]\n[cluster]\nboards = 4\n";

/// A policy that allows one board to reach another.
const WEB: &str =
    "[[policy]]\nfrom = \"board-1\"\nto = \"board-2\"\nprotocol = \"tcp\"\nports = [80]\n";

/// The node at the third port.
const MAC: &str = "02:00:00:00:00:03";

/// A router's configuration with these policies.
fn config(lines: &str) -> NetworkConfig {
    let text = format!("{BEGINS}{lines}");
    let appliance = Appliance::parse("appliance.toml", &text).unwrap();
    let settings = appliance.cluster_settings().unwrap();
    let router = Some(crate::router::plan::RouterPlan::new(&settings, &[]).unwrap());
    NetworkConfig {
        network: appliance.network,
        cluster: Some(settings.cluster),
        router,
        openwrt: None,
        is_board: false,
        manager: None,
        policies: PathAllows::default(),
    }
}

/// The network of a router with `memory`, before `begin`.
fn network(memory: &Memory, config: NetworkConfig) -> Network<Memory> {
    let node = Arc::new(NodeFacts { units: vec![], number: Some(0) });
    let (sender, _) = channel(1);
    let config = Arc::new(config);
    let shared = ServeState::new(memory.clone(), Arc::clone(&node), Arc::clone(&config), sender);
    let shared = Rc::new(shared);
    Network::new(config, node, memory.clone(), shared)
}

fn run<T>(test: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// A network after `begin`, without recorded steps.
async fn begun(memory: &Memory, config: NetworkConfig) -> Network<Memory> {
    let mut network = network(memory, config);
    network.begin().await.unwrap();
    memory.take_steps();
    network
}

fn flow(port: u16) -> TrackedFlow {
    let [from, to] = ["10.20.1.2", "10.20.2.2"].map(|text| text.parse().unwrap());
    let (original, reply) =
        (FlowEnds { from, to, port: Some(port) }, FlowEnds { from: to, to: from, port: None });
    TrackedFlow::new(6, original, reply)
}

fn stranger() -> Author {
    Author { pid: 7, name: "iptables".into() }
}

/// The positions of each kind of step: rules, links and everything else, and flows.
fn positions(steps: &[Step]) -> [Vec<usize>; 3] {
    let at = |is_it: fn(&Step) -> bool| {
        steps.iter().enumerate().filter(|(_, step)| is_it(step)).map(|(at, _)| at).collect()
    };
    [
        at(|step| matches!(step, Step::Rules)),
        at(|step| matches!(step, Step::Change(_))),
        at(|step| matches!(step, Step::Flow(_))),
    ]
}

#[test]
fn rules_stand_before_a_link_is_up() {
    run(async {
        let memory = Memory::with_ports(5);
        memory.change(|state| state.flows = vec![flow(80), flow(81)]);
        let mut network = network(&memory, config(WEB));
        network.begin().await.unwrap();
        let steps = memory.take_steps();
        let [rules, changes, flows] = positions(&steps);
        assert_eq!(rules, [0], "{steps:?}");
        assert!(steps.contains(&Step::Change(PlanStep::Up(1))), "{steps:?}");
        // Forwarding is enabled after everything else, and then flows that no policy allows are
        // ended.
        assert_eq!(changes.last().map(|at| &steps[*at]), Some(&Step::Change(PlanStep::Forward)));
        assert_eq!(flows, [steps.len() - 1]);
        let state = memory.state();
        assert_eq!(state.flows, [flow(80)]);
        assert!(state.observed.forwards && state.observed.links.iter().all(|link| link.up));
        // A second time nothing is to be done.
        network.settle().await.unwrap();
        assert_eq!(memory.take_steps(), []);
    });
}

/// If the kernel does not answer, or refuses the rules, no link is switched on.
#[test]
fn nobody_answers() {
    run(async {
        let memory = Memory::with_ports(5);
        memory.change(|state| state.is_mute = true);
        let failed = network(&memory, config(WEB)).begin().await;
        assert!(matches!(failed, Err(NetdError::Kernel(_))), "{failed:?}");

        memory.change(|state| state.is_mute = false);
        memory.refuse(0);
        let failed = network(&memory, config(WEB)).begin().await;
        assert!(matches!(failed, Err(NetdError::Rules(_))), "{failed:?}");
        let state = memory.state();
        assert!(state.rules.is_none() && state.observed.links.iter().all(|link| !link.up));

        // The next netd process finds the state unchanged, and succeeds.
        network(&memory, config(WEB)).begin().await.unwrap();
        let state = memory.state();
        assert!(state.rules.is_some() && state.observed.links.iter().all(|link| link.up));
    });
}

#[test]
fn flows_end_when_rules_and_links_are_as_they_are_told() {
    run(async {
        let memory = Memory::with_ports(5);
        let mut network = begun(&memory, config(WEB)).await;
        memory.change(|state| state.flows = vec![flow(80), flow(443)]);
        let mut other = config(&WEB.replace("80", "443"));
        other.network = told_network("192.0.2.8");
        network.change(other).await.unwrap().unwrap();
        let steps = memory.take_steps();
        let [rules, changes, flows] = positions(&steps);
        assert_eq!((&rules[..], &flows[..]), (&[0][..], &[steps.len() - 1][..]), "{steps:?}");
        assert!(!changes.is_empty());
        assert_eq!(memory.state().flows, [flow(443)]);
    });
}

/// The same network as [`BEGINS`] has, with this address.
fn told_network(address: &str) -> octet_appliance::NetworkSettings {
    let text = BEGINS.replace("192.0.2.7", address);
    Appliance::parse("appliance.toml", &text).unwrap().network
}

/// Whichever step is refused, the previous state is restored; if none is, the new one is in force.
#[test]
fn a_refused_step_takes_all_of_it_back() {
    run(async {
        let lines = format!("{WEB}[[board]]\nnumber = 3\nmac = \"{MAC}\"\n");
        let mut wanted = config(&lines.replace("80", "443"));
        wanted.network = told_network("192.0.2.8");
        let mut count = 0;
        for refused in 0.. {
            let memory = Memory::with_ports(5);
            let mut network = begun(&memory, config(WEB)).await;
            memory.change(|state| state.flows = vec![flow(80)]);
            let before = memory.state();
            memory.refuse(refused);
            let done = network.change(wanted.clone()).await.unwrap();
            let (after, step) = (memory.state(), memory.refused());
            let Some(step) = step else {
                assert_eq!(done, Ok(()));
                assert_eq!(*network.shared.applied(), wanted);
                assert!(after.rules != before.rules && after.observed != before.observed);
                assert_eq!(after.flows, []);
                break;
            };
            count += 1;
            assert!(done.is_err(), "{step:?}");
            // Queries answer from what the kernel has.
            assert_eq!(*network.shared.applied(), config(WEB), "{step:?}");
            assert_eq!(after.kept(), before.kept(), "{step:?}");
            // A later change succeeds.
            network.change(wanted.clone()).await.unwrap().unwrap();
            assert_ne!(memory.state().kept(), before.kept());
        }
        // Rules, an address removed and one added, a neighbour with three addresses, and the flow.
        assert_eq!(count, 7);
    });
}

/// While nft lists the rules, other queries are answered and changes are applied.
#[test]
fn nothing_waits_for_nft() {
    run(async {
        let memory = Memory::with_ports(5);
        let mut network = begun(&memory, config(WEB)).await;
        let shared = Rc::clone(&network.shared);
        let wanted = config(&WEB.replace("80", "443"));
        for hanging in [Listing::Rules, Listing::Drops] {
            memory.change(|state| state.hangs = Some(hanging));
            let explained = |port| {
                let (from, to) = (Zone::Board(1), Zone::Board(2));
                explain(&shared, from, to, FlowKind::tcp(port)).unwrap()["answer"].clone()
            };
            let others = async {
                assert_eq!((explained(80), explained(443)), ("allowed".into(), "denied".into()));
                network.change(wanted.clone()).await.unwrap().unwrap();
                assert_eq!((explained(80), explained(443)), ("denied".into(), "allowed".into()));
                network.change(config(WEB)).await.unwrap().unwrap();
            };
            // The first poll starts nft.
            tokio::select! {
                biased;
                shown = show(&shared, false) => panic!("nft hangs: {shown:?}"),
                () = others => {}
                () = tokio::time::sleep(Duration::from_secs(180)) => panic!("late: {hanging:?}"),
            }
        }
        memory.change(|state| state.hangs = None);
        assert!(show(&shared, false).await.is_ok());
    });
}

#[test]
fn rules_that_somebody_has_changed_are_put_right() {
    run(async {
        let memory = Memory::with_ports(5);
        let mut network = begun(&memory, config(WEB)).await;
        let rules = memory.state().rules;
        // It ignores notifications of its own changes.
        network.rules_changed(&memory.author()).await;
        assert_eq!(network.due(), None);
        network.tick().await.unwrap();
        assert_eq!(memory.take_steps(), []);

        memory.change(|state| {
            state.rules = None;
            state.flows = vec![flow(22)];
        });
        network.rules_changed(&stranger()).await;
        assert!(network.due().is_some());
        network.tick().await.unwrap();
        assert_eq!(memory.take_steps(), [Step::Rules, Step::Flow(flow(22))]);
        assert_eq!(memory.state().rules, rules);
        // Two processes that undo each other's changes must not use all of the CPU: the next repair
        // is delayed.
        memory.change(|state| state.rules = None);
        network.rules_changed(&stranger()).await;
        assert!(network.due().is_some_and(|due| due > Instant::now()));
        network.tick().await.unwrap();
        assert_eq!(memory.take_steps(), []);
    });
}

#[test]
fn a_report_that_is_refused_leaves_all_as_it_was() {
    run(async {
        let memory = Memory::with_ports(5);
        let mut network = begun(&memory, config(WEB)).await;
        let before = memory.state();
        // There is no such port; and the kernel refuses the rules.
        let report = network.bind_port("eth0", MAC).await.unwrap();
        assert!(matches!(report, Err(PlugError::Refused(InvalidReport::NoPort(_)))), "{report:?}");
        memory.refuse(0);
        let report = network.bind_port("eth3", MAC).await.unwrap();
        assert!(matches!(report, Err(PlugError::Rules(_))), "{report:?}");
        assert_eq!(memory.state().kept(), before.kept());
        // The refused node is not bound: another one may be there.
        network.bind_port("eth3", "02:00:00:00:00:09").await.unwrap().unwrap();
        let after = memory.state();
        assert_ne!(after.rules, before.rules);
        assert_eq!(after.observed.neighbours.len(), 3);
        // Rules come first: until they are in force there are no neighbour entries.
        let steps = memory.take_steps();
        assert!(matches!(&steps[..], [Step::Rules, Step::Change(PlanStep::SetNeighbour(_)), ..]));
    });
}

/// A node that was plugged in when netd ended stays bound, unless its link was down since.
#[test]
fn a_netd_that_is_started_again_knows_who_is_there() {
    run(async {
        let device = octet_appliance::LinkName::try_from("eth3".to_owned()).unwrap();
        let mac = octet_appliance::Mac::try_from(MAC.to_owned()).unwrap();
        for (downs, neighbours) in [(0, 3), (1, 0)] {
            let memory = Memory::with_ports(5);
            let held = [(device.clone(), BoundNode { mac, downs: 0 })];
            memory.change(|state| {
                state.plugged = held.into_iter().collect();
                state.observed.links.iter_mut().for_each(|link| link.carrier_downs = downs);
            });
            begun(&memory, config(WEB)).await;
            assert_eq!(memory.state().observed.neighbours.len(), neighbours, "{downs}");
        }
    });
}

/// What another process has changed is restored, without loading the rules.
#[test]
fn what_somebody_has_taken_away_is_put_back() {
    run(async {
        let memory = Memory::with_ports(5);
        let mut network = begun(&memory, config(WEB)).await;
        let before = memory.state();
        memory.change(|state| {
            state.observed.addresses.clear();
            state.observed.routes.clear();
        });
        network.settle().await.unwrap();
        assert_eq!(memory.state().kept(), before.kept());
        assert!(!memory.take_steps().contains(&Step::Rules));
    });
}
