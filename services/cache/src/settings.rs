//! The sections of `appliance.toml` for this unit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use octet_appliance::{
    AccountsSection, ApplianceSection, Bytes, KeepSection, Neighbour, ObjectSettings,
    OriginSection, Policy, PolicyTraffic, PolicyZone, Protocol,
};
use octet_node::settings::{Settings, Which};
use octet_node::{SettingsError, own_number, say};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::neighbours::{self, Neighbours};
use crate::origin::OriginFront;
use crate::peers::{PORT, UNIT};

/// The port of objects in the unit file.
const OBJECTS: &str = "objects";

/// The number of the router.
const ROUTER: u8 = 0;

pub struct CacheSettings {
    /// The quota of objects in bytes; `None` if it is not set.
    pub quota: Option<u64>,
    /// Whether to list what is in a folder.
    pub has_folder_index: bool,
    pub keeps: Vec<KeepSection>,
    appliance: ApplianceSection,
    origins: Vec<OriginSection>,
    lines: Vec<Neighbour>,
    policies: Vec<Policy>,
    has_accounts: bool,
    /// Whether this node is one of a box with boards.
    has_boards: bool,
}

impl CacheSettings {
    /// Reads them from `config`, which listens in the folder `sockets`.
    ///
    /// # Errors
    /// `config` does not answer, or a section is invalid.
    pub fn read(sockets: &Path, which: Which) -> Result<Self, SettingsError> {
        let settings = Settings::read(sockets, which)?;
        let objects: ObjectSettings = settings.section("cache")?;
        Ok(Self {
            quota: objects.quota.map(Bytes::get),
            has_folder_index: objects.folder_index,
            keeps: settings.list("keep")?,
            appliance: settings.section("appliance")?,
            origins: settings.list("origin")?,
            lines: settings.list("neighbour")?,
            policies: settings.list("policy")?,
            has_boards: settings.optional::<Value>("cluster")?.is_some(),
            has_accounts: settings.optional::<AccountsSection>("accounts")?.is_some(),
        })
    }

    /// Has `front` serve the origins whose front this node is, and `neighbours` be those of the lines whose board it is.
    pub fn apply(&self, sockets: &Path, front: &OriginFront, neighbours: &Neighbours) {
        neighbours.traffic.set_accounts(self.has_accounts);
        let is_number_needed = !(self.origins.is_empty() && self.lines.is_empty());
        match is_number_needed.then(|| own_number(sockets)).transpose() {
            Ok(number) => self.apply_number(number.flatten(), front, neighbours),
            Err(error) => {
                say!(
                    "it is not known which board this is, so there are no origins and neighbours: {error}"
                );
                front.set_origins(&self.appliance.name.to_string(), &[], None);
                neighbours.set(vec![], false);
            }
        }
    }

    fn apply_number(&self, number: Option<u8>, front: &OriginFront, neighbours: &Neighbours) {
        // A board without a number has nothing yet, and what is the router's is not its own.
        let is_known = number.is_some() || !self.has_boards;
        let (origins, lines) =
            if is_known { (&self.origins[..], &self.lines[..]) } else { (&[][..], &[][..]) };
        let own = number.filter(|number| *number != ROUTER);
        front.set_origins(&self.appliance.name.to_string(), origins, own);
        let takes = takes_from_paths(&self.policies, number);
        neighbours.set(neighbours::from_lines(lines, number), takes);
    }
}

/// Applies the settings for the board's number whenever it gets another `number`. It runs forever.
pub async fn follow_number(
    mut number: watch::Receiver<Option<u8>>,
    sockets: PathBuf,
    front: Arc<OriginFront>,
    neighbours: Arc<Neighbours>,
) {
    while number.changed().await.is_ok() {
        let (now, sockets) = (*number.borrow_and_update(), sockets.clone());
        let (front, neighbours) = (Arc::clone(&front), Arc::clone(&neighbours));
        let applied = spawn_blocking(move || {
            let settings = CacheSettings::read(&sockets, Which::InForce)?;
            settings.apply_number(now, &front, &neighbours);
            Ok::<_, SettingsError>(())
        });
        if let Ok(Err(error)) = applied.await {
            say!("the origins and neighbours of this board are not known: {error}");
        }
    }
}

/// Whether a policy allows the node of this number to ask for objects over paths. A board's own packets
/// pass without one, so this is where the policy holds.
fn takes_from_paths(policies: &[Policy], number: Option<u8>) -> bool {
    let own = number.filter(|number| *number != ROUTER);
    let is_own = |zone: &PolicyZone| match (zone, own) {
        (PolicyZone::Board(board), Some(own)) => *board == own,
        (PolicyZone::Boards, own) => own.is_some(),
        (PolicyZone::Router, own) => own.is_none(),
        _ => false,
    };
    let is_of_objects = |traffic: &PolicyTraffic| match traffic {
        PolicyTraffic::Service(name) => {
            let unit = name.unit.as_ref().is_none_or(|unit| unit.as_str() == UNIT);
            unit && name.port.as_str() == OBJECTS
        }
        PolicyTraffic::Ports(Protocol::Udp, ports) => {
            ports.iter().any(|ports| ports.contains(PORT))
        }
        _ => false,
    };
    policies.iter().any(|policy| {
        let to_paths = policy.to.contains(&PolicyZone::Path);
        to_paths && policy.from.iter().any(is_own) && is_of_objects(&policy.what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_is_asked_over_paths_without_a_policy() {
        let takes = |policy: Value, number| {
            let policy = serde_json::from_value(policy).unwrap();
            takes_from_paths(&[policy], number)
        };
        let objects = |from, to| json!({ "from": from, "to": to, "service": "cache.objects" });
        assert!(takes(objects("board-2", "path"), Some(2)));
        assert!(!takes(objects("board-2", "path"), Some(3)));
        assert!(!takes(objects("path", "board-2"), Some(2)));
        assert!(takes(objects("boards", "path"), Some(2)));
        assert!(!takes(objects("boards", "path"), Some(0)));
        assert!(takes(objects("router", "path"), Some(0)));
        let ports = |protocol, ports: Value| json!({ "from": "boards", "to": "path", "protocol": protocol, "ports": ports });
        assert!(takes(ports("udp", json!([4433])), Some(2)));
        assert!(takes(ports("udp", json!(["4000-4500"])), Some(2)));
        assert!(!takes(ports("tcp", json!([4433])), Some(2)));
        assert!(!takes(ports("udp", json!([4434])), Some(2)));
    }
}
