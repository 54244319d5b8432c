//! The verbs of this unit.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use octet_node::control::{
    ColumnKind, Failure, FailureCode, Permission, PublicKey, UnitName, Verb,
};
use octet_node::say;
use octet_node::serve::places::ConnectionLimit;
use octet_node::serve::tasks::{Call, ConnectionLimits, Verbs};
use octet_node::serve::verbs::{nothing, text};
use octet_node::sub_key::{CERTIFICATES, CERTIFY};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::registry::{KeyDecision, RevocationReason, ServiceEntry};
use crate::store::{IdentityStore, IdentityStoreError};

/// Each service may stay connected for its key, and for all certificates.
pub const LIMITS: ConnectionLimits = ConnectionLimits { all: 64, for_operators: 16, of_one: 4 };

/// The maximum number of followers of certificates; operators count as one of them, so that they
/// block no service.
const FOLLOWING: ConnectionLimits = ConnectionLimits { all: 8, for_operators: 0, of_one: 4 };

/// The state of the verbs.
pub struct IdentityService {
    store: RefCell<Result<IdentityStore, IdentityStoreError>>,
    /// Maps a user to its unit.
    unit_of: fn(u32) -> Option<UnitName>,
    /// The followers of certificates.
    following: ConnectionLimit,
    /// Signals a change of keys.
    changed: watch::Sender<()>,
}

pub fn verbs() -> Verbs<IdentityService> {
    use Permission::{Operate, Own, Read};

    let service = || text("unit", "The service");
    Verbs::default()
        .with(
            Verb::new(
                "show",
                Read,
                "Shows the node's public key (a did:key) and the keys of its services",
            )
            .columns(ColumnKind::Date, &["issued"]),
            nothing(),
            async |identity: &IdentityService, _, ()| Ok(identity.show()),
        )
        .with(
            Verb::new(CERTIFY, Own, "Certifies the key of the service that asks").internal(),
            text("key", "The public key (a did:key)"),
            async |identity, call, key| identity.certify(call, &key).await,
        )
        .with(
            Verb::new(
                CERTIFICATES,
                Read,
                "Streams the certificates of the services' keys",
            ).internal(),
            nothing(),
            async |identity, call, ()| identity.certificates(call).await,
        )
        .with(
            Verb::new(
                "rotate",
                Operate,
                "Makes a service generate a new key; the old key's certificate expires",
            ),
            service(),
            async |identity, _, unit| identity.retire(&unit, RevocationReason::Replaced),
        )
        .with(
            Verb::new("revoke", Own, "Revokes a service's keys, which may be compromised; it generates new ones"),
            service(),
            async |identity, _, unit| identity.retire(&unit, RevocationReason::Revoked),
        )
        .with(
            Verb::new(
                "reset",
                Own,
                "Factory reset: the next boot erases all data and keys, and the node gets a new identity",
            ),
            text("node", "This node's public key (a did:key), as a confirmation"),
            async |identity, _, node| identity.reset(&node),
        )
}

impl IdentityService {
    /// With a damaged store, the service still answers and reports the damage: otherwise it could
    /// not be diagnosed.
    pub fn new(
        store: Result<IdentityStore, IdentityStoreError>,
        unit_of: fn(u32) -> Option<UnitName>,
    ) -> Self {
        let (following, changed) = (ConnectionLimit::new(FOLLOWING), watch::Sender::default());
        Self { store: store.into(), unit_of, following, changed }
    }

    /// Certifies the caller's `key`, and waits until it is retired.
    async fn certify(&self, call: &mut Call<'_>, key: &str) -> Result<Value, Failure> {
        // PID 1 calls for operators, who have no service key.
        let unit = (self.unit_of)(call.uid).ok_or_else(|| {
            let message =
                format!("user {} is not a service, so it has no key to certify", call.uid);
            Failure::new(FailureCode::Denied, message, "a service asks this for itself")
        })?;
        let key = key.parse::<PublicKey>().map_err(|error| {
            Failure::new(FailureCode::BadArgument, error.to_string(), "give the public key")
        })?;
        let mut changed = self.changed.subscribe();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let certificate = self.change(|store| store.certify(&unit, key, now))?;
        let Some(certificate) = certificate else { return Ok(renew()) };
        if call.peer.item(call.id, json!(certificate)).await.is_err() {
            return Ok(Value::Null);
        }
        while self.is_current(&unit, &key) {
            tokio::select! {
                // The sender lives longer than this call.
                _ = changed.changed() => {}
                () = call.peer.gone() => return Ok(Value::Null),
            }
        }
        Ok(renew())
    }

    fn is_current(&self, unit: &UnitName, key: &PublicKey) -> bool {
        let store = self.store.borrow();
        store
            .as_ref()
            .is_ok_and(|it| matches!(it.registry().decide(unit, key), KeyDecision::Current { .. }))
    }

    /// Sends all certificates, now and at each change.
    async fn certificates(&self, call: &mut Call<'_>) -> Result<Value, Failure> {
        let _place = self.following.take(call.uid).ok_or_else(|| {
            let message = "too many requests for all certificates wait already";
            Failure::new(FailureCode::Busy, message, "keep one, and end the others")
        })?;
        let mut changed = self.changed.subscribe();
        let all = || self.store.borrow().as_ref().map_err(unusable)?.certificates().map_err(failed);
        let mut told = all()?;
        loop {
            if call.peer.item(call.id, json!(told)).await.is_err() {
                return Ok(Value::Null);
            }
            told = loop {
                tokio::select! {
                    _ = changed.changed() => {}
                    () = call.peer.gone() => return Ok(Value::Null),
                }
                match all() {
                    Ok(now) if now != told => break now,
                    _ => {}
                }
            };
        }
    }

    /// Changes the store, and notifies followers.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut IdentityStore) -> Result<T, IdentityStoreError>,
    ) -> Result<T, Failure> {
        let mut store = self.store.borrow_mut();
        let changed = change(store.as_mut().map_err(|error| unusable(error))?);
        self.changed.send_replace(());
        changed.map_err(failed)
    }

    fn retire(&self, name: &str, why: RevocationReason) -> Result<Value, Failure> {
        let known: Vec<UnitName> = {
            let store = self.store.borrow();
            let book = store.as_ref().map_err(unusable)?.registry();
            book.units().map(|(unit, _)| unit.clone()).collect()
        };
        let Some(unit) = known.iter().find(|unit| unit.as_str() == name) else {
            let known: Vec<&str> = known.iter().map(UnitName::as_str).collect();
            let help = format!("those that have one: {}", known.join(", "));
            let message = format!("no unit `{name}` has had a key");
            return Err(Failure::new(FailureCode::NotFound, message, help));
        };
        self.change(|store| store.retire(unit, why))?;
        Ok(Value::Null)
    }

    fn reset(&self, meant: &str) -> Result<Value, Failure> {
        let store = self.store.borrow();
        let store = store.as_ref().map_err(unusable)?;
        let node = store.node();
        if meant != node.to_string() {
            let message = format!("this box is {node}, and not {meant}");
            let help = "name the box that is to forget everything, as `identity show` does";
            return Err(Failure::new(FailureCode::BadArgument, message, help));
        }
        if !store.is_persistent() {
            let help = "`octetctl reboot` has the box forget all that it knows";
            return Err(Failure::new(FailureCode::Failed, "nothing is kept on a disk", help));
        }
        store.reset(|_| Ok(())).map_err(failed)?;
        say!("everything is erased at the next start");
        Ok(json!({ "reset": AT_NEXT_START }))
    }

    fn show(&self) -> Value {
        let store = self.store.borrow();
        let store = match &*store {
            Ok(store) => store,
            Err(error) => return json!({ "trouble": error.to_string(), "help": HELP }),
        };
        let keys = store.registry().units().map(|(unit, entry)| shown(unit, entry));
        let gone = store.registry().units().flat_map(|(unit, entry)| {
            let row =
                move |key: &PublicKey, why: &str| json!({"unit": unit, "key": key, "was": why});
            let revoked = entry.revoked.iter().map(move |key| row(key, "revoked"));
            revoked.chain(entry.replaced.iter().map(move |key| row(key, "replaced")))
        });
        let kept = if store.is_persistent() {
            "on the data partition"
        } else {
            "in memory, until it is off"
        };
        json!({
            "node": store.node(),
            "kept": kept,
            "reset": store.is_reset_pending().then_some(AT_NEXT_START),
            "certified": keys.collect::<Vec<_>>(),
            "gone": gone.collect::<Vec<_>>(),
        })
    }
}

const HELP: &str = "the box is no longer the one that its owner knows: put its data back, or write the image onto \
     its disk anew";

/// When a reset takes effect.
const AT_NEXT_START: &str = "at the next start: `octetctl reboot`";

fn shown(unit: &UnitName, entry: &ServiceEntry) -> Value {
    let key = entry.key.map(|current| current.key);
    json!({ "unit": unit, "key": key, "epoch": entry.epoch, "issued": entry.key.map(|key| key.issued) })
}

fn renew() -> Value {
    json!({ "renew": true })
}

fn unusable(error: &IdentityStoreError) -> Failure {
    Failure::new(FailureCode::Failed, error.to_string(), HELP)
}

fn failed(error: IdentityStoreError) -> Failure {
    let help = match error {
        IdentityStoreError::Full(_) => {
            "an owner's `revoke` may have room still; a box that is reset has new keys, and so have its services"
        }
        _ => "`octetctl boot` tells how the data partition is",
    };
    Failure::new(FailureCode::Failed, error.to_string(), help)
}
