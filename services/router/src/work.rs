//! What is done with the router. All that it needs is read anew each time.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::thread;

use octet_appliance::{Fingerprint, RouterContact};
use octet_node::control::Failure;
use octet_node::say;
use octet_openwrt::adopt::LOGIN;
use octet_openwrt::apply::{ApplyError, ApplyOutcome, apply};
use octet_openwrt::diff::diff;
use octet_openwrt::https::Https;
use octet_openwrt::kept::SavedCopies;
use octet_openwrt::ubus::{Login, Ubus, UbusError};
use octet_openwrt::verify::verify;
use octet_openwrt::wanted::DesiredConfig;

use crate::fault::RouterFault;
use crate::password::Password;
use crate::told::{NodeSockets, RouterConfig, check};

/// The state of the service.
#[derive(Debug)]
pub struct RouterService {
    place: NodeSockets,
    password: Password,
    /// Held by whoever changes the router, also while that waits for who looks at it.
    changes: Mutex<()>,
    /// Held by all who look at the router, or by one who changes it.
    router: RwLock<()>,
}

/// To what the router is to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterGoal {
    Plan,
    Nothing,
}

/// How a change has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeResult {
    /// There was nothing to do.
    Nothing,
    /// It is done, and confirmed.
    Applied,
}

impl RouterService {
    /// At this place, with what is kept there.
    pub fn new(place: NodeSockets, password: Password) -> Self {
        Self { place, password, changes: Mutex::default(), router: RwLock::default() }
    }

    /// Keeps the password that `read` gives, for the router with the certificate that the owner names. It is not asked for
    /// if the settings name another one: who may change them could have named a machine of their own.
    ///
    /// # Errors
    /// This board is not the one to keep it, or the settings name another router, or it is none, or the disk does not take
    /// it.
    pub fn login(
        &self,
        router: Fingerprint,
        read: impl FnOnce() -> Result<Vec<u8>, Failure>,
    ) -> Result<(), Failure> {
        let set = RouterConfig::read(&self.place)?.contact.fingerprint;
        if set != router {
            return Err(RouterFault::OtherSet(set).into());
        }
        Ok(self.password.keep(router, &read()?)?)
    }

    /// Forgets the password.
    ///
    /// # Errors
    /// The disk does not do that.
    pub fn logout(&self) -> Result<(), Failure> {
        Ok(self.password.forget()?)
    }

    /// What stands in the way, and what is to come, change and go.
    ///
    /// # Errors
    /// The router does not say what it is, cannot be asked, or is being changed.
    pub fn diff(&self) -> Result<Vec<String>, Failure> {
        let _look = self.look()?;
        let told = RouterConfig::read(&self.place)?;
        Ok(diff(&mut self.ubus(&told)?, &told.plan).map_err(RouterFault::from)?)
    }

    /// What is not as the plan says.
    pub fn verify(&self) -> Result<Vec<String>, Failure> {
        let _look = self.look()?;
        let told = RouterConfig::read(&self.place)?;
        Ok(verify(&mut self.ubus(&told)?, &DesiredConfig::Plan(&told.plan))
            .map_err(RouterFault::from)?)
    }

    /// Brings the router to `goal`, or leaves it as it was.
    ///
    /// # Errors
    /// It is as it was, or the error says what is not known.
    pub fn change(&self, goal: RouterGoal) -> Result<ChangeResult, Failure> {
        let _alone = match self.changes.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(RouterFault::Busy.into()),
            Err(TryLockError::Poisoned(held)) => held.into_inner(),
            Ok(held) => held,
        };
        let _router = self.router.write().unwrap_or_else(PoisonError::into_inner);
        let told = RouterConfig::read(&self.place)?;
        let mut ubus = self.ubus(&told)?;
        let kept = SavedCopies::new(self.password.folder()?, &told.contact.address);
        let wanted = match goal {
            RouterGoal::Plan => DesiredConfig::Plan(&told.plan),
            RouterGoal::Nothing => DesiredConfig::Nothing,
        };
        match apply(&mut ubus, &wanted, |state| kept.keep(state)).map_err(RouterFault::from)? {
            ApplyOutcome::Nothing => Ok(ChangeResult::Nothing),
            ApplyOutcome::Applied => {
                say!("the router is changed, and that is confirmed");
                Ok(ChangeResult::Applied)
            }
            ApplyOutcome::Undone(why) => Err(RouterFault::Undone(why).into()),
        }
    }

    /// Nobody changes the router as long as this is held.
    fn look(&self) -> Result<RwLockReadGuard<'_, ()>, RouterFault> {
        match self.router.try_read() {
            // A change that waits for others is one, too: who looks again and again does not keep it off.
            Err(TryLockError::WouldBlock) => Err(RouterFault::Busy),
            Err(TryLockError::Poisoned(held)) => Ok(held.into_inner()),
            Ok(held) => Ok(held),
        }
    }

    /// Whether a plan can be made of settings that are to come.
    pub fn check(&self) -> Result<(), Failure> {
        check(&self.place)
    }

    /// The way to the router. Nothing was sent yet.
    fn ubus(&self, told: &RouterConfig) -> Result<Ubus, RouterFault> {
        let RouterContact { address, fingerprint } = &told.contact;
        let password = self.password.read(*fingerprint)?;
        let login = Login { name: LOGIN.to_owned(), password };
        let https = Https::new(&address.to_string(), Some(*fingerprint));
        let https = https.map_err(|error| ApplyError::from(UbusError::from(error)))?;
        Ok(Ubus::new(https, login, Box::new(thread::sleep)))
    }
}
