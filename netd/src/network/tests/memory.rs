//! A backend that only records what it is asked to do.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use octet_router::matrix::ReceivedProbes;

use crate::backend::{Backend, BackendError, Drops};
use crate::conntrack::TrackedFlow;
use crate::generation::Author;
use crate::observed::{
    LinkAddress, LinkCounters, LinkKind, NetworkDevice, Observed, StaticNeighbour,
};
use crate::plan::PlanStep;
use crate::port_bindings::PortBindings;
use crate::rules::NodeTables;

/// All clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Memory(Rc<RefCell<State>>);

#[derive(Debug, Clone, Default)]
pub struct State {
    pub rules: Option<NodeTables>,
    pub observed: Observed,
    pub flows: Vec<TrackedFlow>,
    /// The port bindings in the previous rules.
    pub plugged: PortBindings,
    /// Received probes, while they are recorded.
    pub came: Option<ReceivedProbes>,
    /// Whether queries of the state fail.
    pub is_mute: bool,
    /// What nft lists without an end.
    pub hangs: Option<Listing>,
    steps: Vec<Step>,
    /// The step to be refused, counted from 0 from now on.
    refuse: Option<usize>,
    refused: Option<Step>,
}

/// What nft can be asked to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    Rules,
    Drops,
}

/// A recorded step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Rules are loaded, in one transaction.
    Rules,
    Change(PlanStep),
    Flow(TrackedFlow),
}

impl State {
    /// The state that can be restored: an ended flow cannot.
    pub fn kept(&self) -> (Option<NodeTables>, Observed) {
        let mut observed = self.observed.clone();
        observed.addresses.sort_by_key(|it| (it.link, it.address));
        observed.neighbours.sort_by_key(|it| (it.link, it.address));
        (self.rules.clone(), observed)
    }

    /// Records `step`, unless it is the one to refuse.
    fn take(&mut self, step: Step) -> Result<(), BackendError> {
        match &mut self.refuse {
            Some(0) => {
                (self.refuse, self.refused) = (None, Some(step));
                return Err(BackendError("it is refused, as it is asked".into()));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.steps.push(step);
        Ok(())
    }

    fn apply(&mut self, change: &PlanStep) {
        let Observed { links, addresses, routes, rules, dead_ends, neighbours, forwards } =
            &mut self.observed;
        match change {
            PlanStep::Up(index) => {
                let mut links = links.iter_mut();
                links.find(|link| link.index == *index).unwrap().up = true;
            }
            PlanStep::SetAddress(it) => {
                addresses.retain(|there| (there.link, there.address) != (it.link, it.address));
                // The kernel does not report whether duplicate address detection was done.
                addresses.push(LinkAddress { is_sole: false, ..it.clone() });
            }
            PlanStep::RemoveAddress(it) => {
                addresses.retain(|there| (there.link, there.address) != (it.link, it.address));
            }
            PlanStep::AddRoute(it) => routes.push(*it),
            PlanStep::RemoveRoute(it) => routes.retain(|there| there != it),
            PlanStep::AddRule(it) => rules.push(it.clone()),
            PlanStep::RemoveRule(it) => rules.retain(|there| there != it),
            PlanStep::AddDeadEnd(it) => dead_ends.push(*it),
            PlanStep::RemoveDeadEnd(it) => dead_ends.retain(|there| there != it),
            PlanStep::SetNeighbour(it) => neighbours.push(*it),
            PlanStep::RemoveNeighbour(it) => neighbours.retain(|there| there != it),
            PlanStep::Forward => *forwards = true,
        }
    }
}

impl Memory {
    /// A kernel with this many ports, `eth0` and so on, which are off and have a carrier.
    pub fn with_ports(count: u8) -> Self {
        let link = |number: u8| NetworkDevice {
            index: u32::from(number) + 1,
            name: format!("eth{number}"),
            kind: LinkKind::Ethernet([2, 0, 0, 0, 1, number]),
            up: false,
            carrier: true,
            carrier_downs: 0,
            traffic: LinkCounters::default(),
        };
        let memory = Self::default();
        memory.change(|state| state.observed.links = (0..count).map(link).collect());
        memory
    }

    pub fn state(&self) -> State {
        self.0.borrow().clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.borrow_mut());
    }

    async fn hang(&self, listing: Listing) {
        if self.0.borrow().hangs == Some(listing) {
            std::future::pending::<()>().await;
        }
    }

    /// Refuses one step, after this many others.
    pub fn refuse(&self, after: usize) {
        self.change(|state| state.refuse = Some(after));
    }

    /// The refused step.
    pub fn refused(&self) -> Option<Step> {
        self.0.borrow().refused.clone()
    }

    /// The steps since the last call.
    pub fn take_steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.0.borrow_mut().steps)
    }

    /// The author of its own changes of the ruleset.
    pub fn author(&self) -> Author {
        Author { pid: 1, name: "nft".into() }
    }
}

impl Backend for Memory {
    fn prepare(&self, _: bool) {}

    async fn observe(&self) -> Result<Observed, BackendError> {
        let state = self.0.borrow();
        if state.is_mute {
            return Err(BackendError("nobody answers".into()));
        }
        Ok(state.observed.clone())
    }

    async fn apply(&self, change: &PlanStep) -> Result<(), BackendError> {
        let mut state = self.0.borrow_mut();
        state.take(Step::Change(change.clone()))?;
        state.apply(change);
        Ok(())
    }

    async fn load(
        &self,
        rules: &NodeTables,
        before: Option<&NodeTables>,
    ) -> Result<(), BackendError> {
        let mut state = self.0.borrow_mut();
        if let Some(before) = before {
            assert_eq!(
                state.rules.as_ref(),
                Some(before),
                "these are not the rules that there are"
            );
            if before == rules {
                return Ok(());
            }
        }
        state.take(Step::Rules)?;
        state.rules = Some(rules.clone());
        Ok(())
    }

    async fn is_own(&self, author: &Author) -> bool {
        *author == self.author()
    }

    async fn plugged(&self) -> PortBindings {
        self.0.borrow().plugged.clone()
    }

    fn end_flows(
        &self,
        ends: impl Fn(&TrackedFlow) -> bool,
    ) -> Result<Vec<TrackedFlow>, BackendError> {
        let mut state = self.0.borrow_mut();
        let ended: Vec<_> = state.flows.iter().filter(|flow| ends(flow)).cloned().collect();
        for flow in &ended {
            state.take(Step::Flow(flow.clone()))?;
            state.flows.retain(|it| it != flow);
        }
        Ok(ended)
    }

    async fn rules(&self) -> Result<String, BackendError> {
        self.hang(Listing::Rules).await;
        Ok(format!("{:?}", self.0.borrow().rules))
    }

    async fn drops(&self) -> Result<Drops, BackendError> {
        self.hang(Listing::Drops).await;
        Ok(Drops::default())
    }

    async fn rule_counters(&self) -> Result<BTreeMap<String, u64>, BackendError> {
        Ok(BTreeMap::default())
    }

    async fn watch(&self) -> Result<(), BackendError> {
        self.change(|state| state.came = Some(ReceivedProbes::default()));
        Ok(())
    }

    async fn unwatch(&self) -> Result<(), BackendError> {
        self.change(|state| state.came = None);
        Ok(())
    }

    async fn received(&self) -> Result<ReceivedProbes, BackendError> {
        let nothing = || BackendError("nothing is noted".into());
        self.0.borrow().came.clone().ok_or_else(nothing)
    }

    async fn set_neighbour(&self, _: &StaticNeighbour) -> Result<(), BackendError> {
        Ok(())
    }
}
