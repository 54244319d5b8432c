//! Names of services: each tells those of its own unit, and they count for as long as its connection stands.

use std::collections::BTreeMap;

use octet_node::Peer;
use octet_node::control::{Failure, FailureCode, Request, UnitName};
use octet_node::names::{ServiceNames, parse};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use crate::dns::Dns;
use crate::dns::zones::RegisterError;

/// What the loop, which has the names, is asked.
#[derive(Debug)]
pub enum NameRequest {
    /// `unit` has these names from now on, on the connection `by`.
    Take {
        /// The unit, as the kernel has it.
        unit: UnitName,
        names: ServiceNames,
        /// A number that no other connection has.
        by: u64,
        /// Told whether it may have them.
        answer: oneshot::Sender<Result<(), Failure>>,
    },
    /// The connection `by` of `unit` has ended.
    Leave { unit: UnitName, by: u64 },
}

/// Which connection the names of each unit hang on: the last that was given some.
#[derive(Debug, Default)]
pub struct Registering(BTreeMap<UnitName, u64>);

impl Registering {
    /// Does what is asked with the names that `dns` tells; it is not there before netd has said which links
    /// this node has.
    pub fn take(&mut self, asked: NameRequest, dns: Option<&Dns>) {
        match asked {
            NameRequest::Take { unit, names, by, answer } => {
                let given = self.give(unit.clone(), names, by, dns);
                // Who has left in the meantime has none.
                if answer.send(given).is_err() {
                    self.leave(&unit, by, dns);
                }
            }
            NameRequest::Leave { unit, by } => self.leave(&unit, by, dns),
        }
    }

    fn give(
        &mut self,
        unit: UnitName,
        names: ServiceNames,
        by: u64,
        dns: Option<&Dns>,
    ) -> Result<(), Failure> {
        let dns = dns.ok_or_else(|| {
            let message = "this node does not know its links yet";
            Failure::new(FailureCode::Busy, message, "ask again in a moment")
        })?;
        let names: Vec<_> = names.into_iter().collect();
        dns.register(&unit, &names).map_err(|error| refused(&error))?;
        self.0.insert(unit, by);
        Ok(())
    }

    fn leave(&mut self, unit: &UnitName, by: u64, dns: Option<&Dns>) {
        // What a later connection was given stays.
        if self.0.get(unit) == Some(&by) {
            self.0.remove(unit);
            if let Some(dns) = dns {
                dns.forget(unit);
            }
        }
    }
}

fn refused(error: &RegisterError) -> Failure {
    let (code, help) = match error {
        RegisterError::NoRoom => (FailureCode::Busy, "ask again once another service has ended"),
        _ => (FailureCode::BadArgument, "what the unit had before, it still has"),
    };
    Failure::new(code, error.to_string(), help)
}

/// Has the loop, which listens to `asks`, take the names that `unit` asks for, and waits until the
/// connection of `peer` ends, which is number `by`.
pub fn hold(
    peer: &mut Peer,
    id: u64,
    unit: &UnitName,
    names: &str,
    by: u64,
    asks: &Sender<NameRequest>,
) -> Result<Value, Failure> {
    let names = parse(names)?;
    let count = names.len();
    let (answer, answered) = oneshot::channel();
    let take = NameRequest::Take { unit: unit.clone(), names, by, answer };
    // Without the loop nobody is told anything any more.
    let sent = asks.blocking_send(take).is_ok();
    let given = answered.blocking_recv().ok().filter(|_| sent);
    given.ok_or_else(|| Failure::new(FailureCode::Failed, "lan ends", "ask the next one"))??;
    if peer.item(id, json!({ "names": count })).is_ok() {
        wait(peer);
    }
    let _ = asks.blocking_send(NameRequest::Leave { unit: unit.clone(), by });
    Ok(Value::Null)
}

fn wait(peer: &mut Peer) {
    while let Ok(Some(Request { id, .. })) = peer.next_request() {
        let help = "open another connection; it takes the place of this one once it has names";
        let message = "names hang on this connection";
        if peer.end(id, Err(Failure::new(FailureCode::Busy, message, help))).is_err() {
            return;
        }
    }
}
