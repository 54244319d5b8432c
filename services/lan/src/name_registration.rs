//! Names of services: each service registers names below its own, for as long as its connection is
//! open.

use std::collections::BTreeMap;

use octet_node::Peer;
use octet_node::control::{Failure, FailureCode, Request, UnitName};
use octet_node::names::{ServiceNames, parse};
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

use crate::dns::Dns;
use crate::dns::zones::RegisterError;

/// A request to the loop, which owns the resolver.
#[derive(Debug)]
pub enum NameRequest {
    Register {
        /// The unit, identified by the kernel's peer credentials.
        unit: UnitName,
        names: ServiceNames,
        /// A unique number of the connection.
        connection: u64,
        /// Receives whether the names are accepted.
        answer: oneshot::Sender<Result<(), Failure>>,
    },
    /// The connection `connection` of `unit` has ended; its names are removed.
    Unregister { unit: UnitName, connection: u64 },
}

/// The connection that each unit's names belong to: the last one that has registered.
#[derive(Debug, Default)]
pub struct NameRegistry(BTreeMap<UnitName, u64>);

impl NameRegistry {
    /// Handles a request. `dns` is `None` until netd has reported the links.
    pub fn handle(&mut self, asked: NameRequest, dns: Option<&Dns>) {
        match asked {
            NameRequest::Register { unit, names, connection, answer } => {
                let given = self.register(unit.clone(), names, connection, dns);
                // The connection has ended in the meantime.
                if answer.send(given).is_err() {
                    self.unregister(&unit, connection, dns);
                }
            }
            NameRequest::Unregister { unit, connection } => self.unregister(&unit, connection, dns),
        }
    }

    fn register(
        &mut self,
        unit: UnitName,
        names: ServiceNames,
        connection: u64,
        dns: Option<&Dns>,
    ) -> Result<(), Failure> {
        let dns = dns.ok_or_else(|| {
            let message = "this node does not know its links yet";
            Failure::new(FailureCode::Busy, message, "ask again in a moment")
        })?;
        let names: Vec<_> = names.into_iter().collect();
        dns.register(&unit, &names).map_err(|error| refused(&error))?;
        self.0.insert(unit, connection);
        Ok(())
    }

    fn unregister(&mut self, unit: &UnitName, connection: u64, dns: Option<&Dns>) {
        // Names that a later connection has registered are kept.
        if self.0.get(unit) == Some(&connection) {
            self.0.remove(unit);
            if let Some(dns) = dns {
                dns.unregister(unit);
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

/// Registers the names of `unit` through the loop at `asks`, and waits until the connection of
/// `peer` with number `connection` ends.
pub fn register_until_closed(
    peer: &mut Peer,
    id: u64,
    unit: &UnitName,
    names: &str,
    connection: u64,
    asks: &Sender<NameRequest>,
) -> Result<Value, Failure> {
    let names = parse(names)?;
    let count = names.len();
    let (answer, answered) = oneshot::channel();
    let take = NameRequest::Register { unit: unit.clone(), names, connection, answer };
    // This fails only if the loop has ended.
    let sent = asks.blocking_send(take).is_ok();
    let given = answered.blocking_recv().ok().filter(|_| sent);
    given.ok_or_else(|| Failure::new(FailureCode::Failed, "lan ends", "ask the next one"))??;
    if peer.item(id, json!({ "names": count })).is_ok() {
        wait_until_closed(peer);
    }
    let _ = asks.blocking_send(NameRequest::Unregister { unit: unit.clone(), connection });
    Ok(Value::Null)
}

fn wait_until_closed(peer: &mut Peer) {
    while let Ok(Some(Request { id, .. })) = peer.next_request() {
        let help = "open another connection; it takes the place of this one once it has names";
        let message = "names hang on this connection";
        if peer.end(id, Err(Failure::new(FailureCode::Busy, message, help))).is_err() {
            return;
        }
    }
}
