//! Operations on the router. Each reads all of its inputs again.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::thread;

use octet_appliance::{Fingerprint, RouterContact};
use octet_node::control::Failure;
use octet_node::say;
use octet_openwrt::adopt::LOGIN;
use octet_openwrt::apply::{ApplyError, ApplyOutcome, apply};
use octet_openwrt::desired::DesiredConfig;
use octet_openwrt::diff::diff;
use octet_openwrt::https::Https;
use octet_openwrt::saved::SavedCopies;
use octet_openwrt::ubus::{Login, Ubus, UbusError};
use octet_openwrt::verify::verify;

use crate::config::{NodeSockets, RouterConfig, check};
use crate::fault::RouterFault;
use crate::password::Password;

#[derive(Debug)]
pub struct RouterService {
    node: NodeSockets,
    password: Password,
    /// Held by a change of the router, also while it waits for readers.
    changes: Mutex<()>,
    /// Held shared by readers of the router, and exclusively by a change.
    router: RwLock<()>,
}

/// The target of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterGoal {
    Plan,
    Nothing,
}

/// The result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeResult {
    /// The router was up to date.
    Nothing,
    /// The change was applied and confirmed.
    Applied,
}

impl RouterService {
    pub fn new(node: NodeSockets, password: Password) -> Self {
        Self { node, password, changes: Mutex::default(), router: RwLock::default() }
    }

    /// Stores the password that `read` returns, for the router with the certificate that the owner
    /// names. `read` is not called if the settings name another one: an operator who can change
    /// them could have named a machine of their own.
    ///
    /// # Errors
    /// This board is not the coordinator, the settings name another router, the password is
    /// invalid, or writing fails.
    pub fn login(
        &self,
        router: Fingerprint,
        read: impl FnOnce() -> Result<Vec<u8>, Failure>,
    ) -> Result<(), Failure> {
        let set = RouterConfig::read(&self.node)?.contact.fingerprint;
        if set != router {
            return Err(RouterFault::OtherSet(set).into());
        }
        Ok(self.password.store(router, &read()?)?)
    }

    /// Deletes the password.
    ///
    /// # Errors
    /// Deleting fails.
    pub fn logout(&self) -> Result<(), Failure> {
        Ok(self.password.forget()?)
    }

    /// The differences to the plan: conflicts, additions, changes and removals.
    ///
    /// # Errors
    /// The router cannot be identified or queried, or is being changed.
    pub fn diff(&self) -> Result<Vec<String>, Failure> {
        let _look = self.lock_shared()?;
        let config = RouterConfig::read(&self.node)?;
        Ok(diff(&mut self.ubus(&config)?, &config.plan).map_err(RouterFault::from)?)
    }

    /// The deviations from the plan.
    pub fn verify(&self) -> Result<Vec<String>, Failure> {
        let _look = self.lock_shared()?;
        let config = RouterConfig::read(&self.node)?;
        Ok(verify(&mut self.ubus(&config)?, &DesiredConfig::Plan(&config.plan))
            .map_err(RouterFault::from)?)
    }

    /// Changes the router to `goal`, or rolls back.
    ///
    /// # Errors
    /// The router was rolled back, or the error says which part of its state is unknown.
    pub fn change(&self, goal: RouterGoal) -> Result<ChangeResult, Failure> {
        let _alone = match self.changes.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(RouterFault::Busy.into()),
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Ok(held) => held,
        };
        let _router = self.router.write().unwrap_or_else(PoisonError::into_inner);
        let config = RouterConfig::read(&self.node)?;
        let mut ubus = self.ubus(&config)?;
        let kept = SavedCopies::new(self.password.folder()?, &config.contact.address);
        let wanted = match goal {
            RouterGoal::Plan => DesiredConfig::Plan(&config.plan),
            RouterGoal::Nothing => DesiredConfig::Nothing,
        };
        match apply(&mut ubus, &wanted, |state| kept.save(state)).map_err(RouterFault::from)? {
            ApplyOutcome::Nothing => Ok(ChangeResult::Nothing),
            ApplyOutcome::Applied => {
                say!("the router is changed, and the change is confirmed");
                Ok(ChangeResult::Applied)
            }
            ApplyOutcome::Undone(why) => Err(RouterFault::Undone(why).into()),
        }
    }

    /// Locks the router against changes.
    fn lock_shared(&self) -> Result<RwLockReadGuard<'_, ()>, RouterFault> {
        match self.router.try_read() {
            // A waiting change counts as one: repeated reads do not starve it.
            Err(TryLockError::WouldBlock) => Err(RouterFault::Busy),
            Err(TryLockError::Poisoned(held)) => Ok(held.into_inner()),
            Ok(held) => Ok(held),
        }
    }

    /// Checks that a plan can be made of the pending settings.
    pub fn check(&self) -> Result<(), Failure> {
        check(&self.node)
    }

    /// A connection to the router; nothing is sent yet.
    fn ubus(&self, config: &RouterConfig) -> Result<Ubus, RouterFault> {
        let RouterContact { address, fingerprint } = &config.contact;
        let password = self.password.read(*fingerprint)?;
        let login = Login { name: LOGIN.to_owned(), password };
        let https = Https::new(&address.to_string(), Some(*fingerprint));
        let https = https.map_err(|error| ApplyError::from(UbusError::from(error)))?;
        Ok(Ubus::new(https, login, Box::new(thread::sleep)))
    }
}
