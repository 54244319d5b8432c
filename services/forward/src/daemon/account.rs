//! What the unit `accounts` asks for: the traffic of neighbours of other boxes, limits of what they are served, and
//! messages to and from their `accounts`.

use std::collections::{BTreeMap, VecDeque};

use data_encoding::BASE64;
use octet_node::address::NodeAddress;
use octet_node::control::{Failure, FailureCode, PublicKey};
use serde_json::{Value, json};

use super::Daemon;
use super::answer::counters_failure;
use crate::control::LinkMessage;
use crate::engine::LinkNumber;
use crate::kernel::KernelError;
use crate::kernel::meter::{self, GuardedDevice, MeterCounts};
use crate::traffic::TrafficBytes;

/// The maximum number of messages of one neighbour that wait for `accounts`. All are repeated by their sender.
const MAX_WAITING: usize = 8;

/// Messages of neighbours' `accounts` that the own one has not received yet.
#[derive(Debug, Default)]
pub(super) struct AccountMessages(BTreeMap<PublicKey, VecDeque<Vec<u8>>>);

impl AccountMessages {
    /// Adds a message. The oldest of the same neighbour goes, if there are too many.
    fn add(&mut self, node: PublicKey, message: Vec<u8>) {
        let waiting = self.0.entry(node).or_default();
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(message);
    }

    /// The messages, which are forgotten.
    pub fn take(&mut self) -> Value {
        let all = std::mem::take(&mut self.0).into_iter();
        let rows = all.flat_map(|(node, messages)| messages.into_iter().map(move |it| (node, it)));
        rows.map(|(node, message)| json!({ "node": node, "message": BASE64.encode(&message) }))
            .collect()
    }
}

/// The failure if no `[[neighbour]]` section has this node.
fn no_neighbour(node: &PublicKey) -> Failure {
    let message = format!("{node} is not in a [[neighbour]] section of this node");
    Failure::new(FailureCode::NotFound, message, "`forward traffic` shows those that are")
}

impl Daemon {
    /// The nodes of other boxes that have a link to this one, by their keys.
    fn outer_links(&self) -> impl Iterator<Item = (PublicKey, LinkNumber)> {
        let of_lines = |node: &PublicKey| self.settings.lines.has(node);
        let links = self.links.open.iter().map(|(link, open)| (open.neighbour.node, *link));
        links.filter(move |(node, _)| of_lines(node))
    }

    fn outer_link(&self, node: &PublicKey) -> Result<LinkNumber, Failure> {
        let found = self.outer_links().find(|(other, _)| other == node);
        found.map(|(_, link)| link).ok_or_else(|| no_neighbour(node))
    }

    /// Receives a message from the neighbour at `link`. Boards of the own box have no accounts with each other.
    pub(super) fn receive_account_message(&mut self, link: LinkNumber, message: Vec<u8>) {
        let from = self.outer_links().find(|(_, other)| *other == link).map(|(node, _)| node);
        if let Some(node) = from {
            self.account_messages.add(node, message);
        }
    }

    pub(super) async fn send_account(
        &mut self,
        node: &PublicKey,
        message: Vec<u8>,
    ) -> Result<Value, Failure> {
        let link = self.outer_link(node)?;
        self.links.send(link, &LinkMessage::Account(message)).await;
        Ok(Value::Null)
    }

    /// The traffic with each neighbour of another box, by node.
    fn traffic(&self) -> Result<BTreeMap<NodeAddress, TrafficBytes>, KernelError> {
        // Before there are links there is no nftables table.
        let counts = if self.links.keys.is_some() { meter::counts()? } else { MeterCounts::new() };
        Ok(self.accounting.traffic.all(&self.engine.path_counters(), &counts))
    }

    pub(super) fn traffic_json(&self) -> Result<Value, Failure> {
        // Most boards have no such link.
        if self.outer_links().next().is_none() {
            return Ok(json!([]));
        }
        let all = self.traffic().map_err(counters_failure)?;
        let row = |(key, link): (PublicKey, LinkNumber)| {
            let node = NodeAddress::of(&key);
            let TrafficBytes { bought, served } = all.get(&node).copied().unwrap_or_default();
            let open = self.links.open.get(&link);
            json!({
                "neighbour": self.display_name(node),
                "link": link.device(),
                "bought": bought,
                "served": served,
                "limit": self.accounting.traffic.limit(node),
                "kilobits": open.and_then(|open| open.trains.capacity()),
                "node": key,
                "epoch": self.accounting.traffic.epoch(),
            })
        };
        Ok(self.outer_links().map(row).collect())
    }

    /// Limits how far the bytes that a neighbour is served may grow. The limit is in force when this returns.
    pub(super) async fn limit_account(
        &mut self,
        node: &PublicKey,
        limit: Option<u64>,
    ) -> Result<Value, Failure> {
        let link = self.outer_link(node)?;
        let address = NodeAddress::of(node);
        let was_limited = self.accounting.traffic.limit(address).is_some();
        if limit.is_none() && !was_limited {
            return Ok(Value::Null);
        }
        self.accounting.traffic.set_limit(address, limit);
        self.accounting.persist_traffic(&self.state).map_err(counters_failure)?;
        let links = [(link, address)];
        let done = match was_limited && limit.is_some() {
            true => self.set_quotas(&links).await,
            false => self.guard_links(&links).await,
        };
        done.map(|()| Value::Null).map_err(counters_failure)
    }

    /// Guards the devices of these links, and sets the quotas of neighbours with a limit.
    pub(super) async fn guard_links(
        &self,
        links: &[(LinkNumber, NodeAddress)],
    ) -> Result<(), KernelError> {
        let guarded = |(link, node): &(LinkNumber, NodeAddress)| GuardedDevice {
            name: link.device(),
            has_quota: self.accounting.traffic.limit(*node).is_some(),
        };
        let guarded: Vec<_> = links.iter().map(guarded).collect();
        if !guarded.is_empty() {
            meter::guard(&guarded, &meter::quotas()?).await?;
        }
        // Before this, the paths of a daemon that was killed are not known, and their counters neither. It is
        // called again then.
        if self.links.keys.is_some() { self.set_quotas(links).await } else { Ok(()) }
    }

    /// Has the kernel let pass what is left of each neighbour's limit.
    async fn set_quotas(&self, links: &[(LinkNumber, NodeAddress)]) -> Result<(), KernelError> {
        let limits: Vec<_> = links
            .iter()
            .filter_map(|(link, node)| Some((link, node, self.accounting.traffic.limit(*node)?)))
            .collect();
        if limits.is_empty() {
            return Ok(());
        }
        let quotas = meter::quotas()?;
        let traffic = self.traffic()?;
        let remaining = |(link, node, limit): (&LinkNumber, &NodeAddress, u64)| {
            let served = traffic.get(node).map_or(0, |bytes| bytes.served);
            (link.device(), limit.saturating_sub(served))
        };
        let remaining: Vec<_> = limits.into_iter().map(remaining).collect();
        meter::set_quotas(&remaining, &quotas).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A neighbour that says much displaces its own messages only.
    #[test]
    fn messages_of_one_neighbour_are_bounded() {
        let [one, other] = [1, 2].map(|key| PublicKey::new([key; 32]));
        let mut messages = AccountMessages::default();
        messages.add(one, vec![0]);
        for number in 0..20 {
            messages.add(other, vec![number]);
        }
        let taken = messages.take();
        let of = |node: &PublicKey| -> Vec<Vec<u8>> {
            let rows = taken.as_array().unwrap().iter().filter(|row| row["node"] == json!(node));
            let bytes = |row: &Value| BASE64.decode(row["message"].as_str().unwrap().as_bytes());
            rows.map(|row| bytes(row).unwrap()).collect()
        };
        assert_eq!((of(&one), of(&other)), (vec![vec![0]], (12..20).map(|it| vec![it]).collect()));
        assert_eq!(messages.take(), json!([]));
    }
}
