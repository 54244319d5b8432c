//! How far back an owner may set the clock, and in which boot.

use std::path::PathBuf;
use std::time::Duration;

use octet_node::boot::BootId;
use octet_node::control::Client;
use octet_node::map::{MAP, Update};
use serde::Deserialize;

use crate::decide::Time;

/// The timeout of `cluster`.
const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct TimeBounds {
    /// The build time of the image.
    pub build: Time,
    pub boot: BootId,
    /// The folder of the units' sockets.
    pub sockets: PathBuf,
}

impl TimeBounds {
    /// The boot id, for display.
    pub fn boot(&self) -> String {
        format!("{:032x}", self.boot)
    }

    /// The earliest possible time: that of the build, and of the coordinator's certificates.
    pub fn earliest(&self) -> Time {
        self.build.max(self.map_time().unwrap_or_default())
    }

    /// The time of certification of the coordinator's keys in the membership map, if the
    /// coordinator is another node: maps have no timestamp.
    fn map_time(&self) -> Option<Time> {
        let mut client = Client::connect(&self.sockets.join("cluster.sock")).ok()?;
        client.stream().set_read_timeout(Some(TIMEOUT)).ok()?;
        let mut update = None;
        let asked = client.call_each(MAP, serde_json::Map::new(), |item| {
            update = Update::deserialize(item).ok();
            false
        });
        asked.ok()?;
        latest(&update?)
    }
}

fn latest(update: &Update) -> Option<Time> {
    let map = update.map.as_ref()?.map();
    let coordinator = map
        .member_by_key(&map.coordinator)
        .filter(|coordinator| Some(coordinator.number) != update.number)?;
    let issued = coordinator.certificates.iter().map(|certificate| certificate.body().issued);
    issued.max().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::certificate::{Certificate, KeyStatement};
    use octet_node::key::PrivateKey;
    use octet_node::map::{Map, MapVersion, Member, SignedMap};

    #[test]
    fn what_another_coordinator_says_counts() {
        let coordinator = PrivateKey::generate().unwrap();
        let certificate = |unit: &str, issued| {
            let (unit, key) = (unit.parse().unwrap(), PrivateKey::generate().unwrap().public());
            let statement =
                KeyStatement { node: coordinator.public(), unit, key, epoch: 1, issued };
            Certificate::sign(statement, &coordinator).unwrap()
        };
        let certificates =
            vec![certificate("cluster", 1_800_000_000), certificate("gate", 1_700_000_000)];
        let key = PrivateKey::generate().unwrap();
        let statement = KeyStatement {
            node: coordinator.public(),
            unit: "cluster".parse().unwrap(),
            key: key.public(),
            epoch: 1,
            issued: 1_800_000_000,
        };
        let own = Certificate::sign(statement, &coordinator).unwrap();
        let (addresses, record, drained) = (vec![], None, false);
        let member = Member {
            number: 0,
            node: coordinator.public(),
            addresses,
            certificates,
            record,
            drained,
        };
        let map = Map::new(coordinator.public(), MapVersion::default(), vec![member], vec![]);
        let map = SignedMap::sign(map, own, &key).unwrap();
        let update = |number| Update { number, map: Some(map.clone()) };
        assert_eq!(latest(&update(Some(3))), Some(Duration::from_secs(1_800_000_000)));
        // This node's own certificates bound nothing: its clock may have been wrong then.
        assert_eq!(latest(&update(Some(0))), None);
        assert_eq!(latest(&Update { number: Some(3), map: None }), None);
    }
}
