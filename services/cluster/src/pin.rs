//! The trusted coordinator: a board pins the first one that it meets, until an owner appoints
//! another. Pure: it has no clock, socket or disk.

use octet_node::control::PublicKey;
use octet_node::map::{MapVersion, SignedMap};
use octet_node::statement::SignedAppointment;
use serde::{Deserialize, Serialize};

use crate::registry::FIRST_EPOCH;

/// The trusted coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    pub coordinator: PublicKey,
    /// How often the coordinator was replaced.
    pub epoch: u64,
    /// The highest seen epoch of its `cluster` key.
    pub key_epoch: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersistedPin {
    pub pin: Option<Pin>,
    /// This node's number, as assigned by the coordinator.
    pub number: Option<u8>,
    pub map: Option<SignedMap>,
}

/// The claims of a node that says it is the coordinator. Its key is proved already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoordinatorProof {
    pub node: PublicKey,
    /// The epoch of its `cluster` key.
    pub key_epoch: u64,
    pub epoch: u64,
    /// Its appointment.
    pub statement: Option<SignedAppointment>,
}

/// Why a coordinator is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UntrustedCoordinator {
    /// Another coordinator is pinned, and no owner has appointed this one.
    #[error(
        "it is {shown}, and the coordinator is {known}: if it takes that one's place, an owner says so with \
         `octetctl sign-coordinator`, and it takes that by `cluster adopt`"
    )]
    NotAppointed { shown: PublicKey, known: PublicKey },
    /// The appointment is for another node.
    #[error("it shows a statement that is about another node or another epoch")]
    WrongStatement,
    /// The appointment's signer is not an owner.
    #[error(
        "its statement is signed by {0}, which is no owner of this box by this board's settings"
    )]
    NoOwner(PublicKey),
    /// The epoch is older than the known one.
    #[error("it is the coordinator of epoch {shown}, and this board knows of epoch {known}")]
    OldEpoch { shown: u64, known: u64 },
    /// The epoch lacks an appointment.
    #[error("it says epoch {0}, and shows no statement of an owner for that")]
    NoStatement(u64),
    /// The `cluster` key is outdated.
    #[error(
        "its key is number {shown}, and number {seen} was seen before: the old one may be compromised"
    )]
    Replaced {
        /// The presented epoch.
        shown: u64,
        /// The highest known epoch.
        seen: u64,
    },
}

/// Why a map is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapRejection {
    /// It is by another coordinator.
    #[error("the map is by {0}, which is not the coordinator")]
    OtherCoordinator(PublicKey),
    /// It is of another epoch than the coordinator's.
    #[error("the map is of epoch {shown}, and the coordinator's is {known}")]
    OtherEpoch { shown: u64, known: u64 },
    /// It is signed by an outdated key.
    #[error(
        "the map is signed by the coordinator's key number {shown}, and number {seen} was seen before"
    )]
    Replaced {
        /// The epoch of the key.
        shown: u64,
        /// The highest known epoch.
        seen: u64,
    },
    /// It is older than the current one.
    #[error("the map is number {}, and number {} is known: an old one is shown again", shown.sequence, known.sequence)]
    Older { shown: MapVersion, known: MapVersion },
    /// It differs from the current one, but has the same number.
    #[error("there are two maps of number {}", _0.sequence)]
    Conflict(MapVersion),
}

/// The effect of an accepted map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapUpdate {
    /// It is the current one.
    Same,
    /// It replaces the current one.
    New,
}

impl PersistedPin {
    /// The version of the current map.
    pub fn version(&self) -> Option<MapVersion> {
        self.map.as_ref().map(|signed| signed.map().version)
    }

    /// Checks that `shown` is the coordinator; `owners` are the box's owners. Returns the new pin,
    /// which applies once it has sent a map.
    pub fn verify(
        &self,
        shown: &CoordinatorProof,
        owners: &[PublicKey],
    ) -> Result<Pin, UntrustedCoordinator> {
        let CoordinatorProof { node, key_epoch, epoch, statement } = *shown;
        let pin = Pin { coordinator: node, epoch, key_epoch };
        let Some(known) = self.pin else {
            return if epoch == FIRST_EPOCH {
                Ok(pin)
            } else {
                check_appointment(shown, owners).map(|()| pin)
            };
        };
        if known.coordinator == node {
            if key_epoch < known.key_epoch {
                return Err(UntrustedCoordinator::Replaced {
                    shown: key_epoch,
                    seen: known.key_epoch,
                });
            }
            return match epoch {
                same if same == known.epoch => Ok(pin),
                old if old < known.epoch => {
                    Err(UntrustedCoordinator::OldEpoch { shown: epoch, known: known.epoch })
                }
                _ => check_appointment(shown, owners).map(|()| pin),
            };
        }
        if statement.is_none() {
            return Err(UntrustedCoordinator::NotAppointed {
                shown: node,
                known: known.coordinator,
            });
        }
        check_appointment(shown, owners)?;
        if epoch <= known.epoch {
            return Err(UntrustedCoordinator::OldEpoch { shown: epoch, known: known.epoch });
        }
        Ok(pin)
    }

    /// Checks whether `signed`, sent by the coordinator in `pin`, is accepted.
    ///
    /// # Errors
    /// It is by another coordinator, or old.
    pub fn accept(&self, pin: &Pin, signed: &SignedMap) -> Result<MapUpdate, MapRejection> {
        let (map, shown) = (signed.map(), signed.map().version);
        if map.coordinator != pin.coordinator {
            return Err(MapRejection::OtherCoordinator(map.coordinator));
        }
        if shown.epoch != pin.epoch {
            return Err(MapRejection::OtherEpoch { shown: shown.epoch, known: pin.epoch });
        }
        if signed.key_epoch() < pin.key_epoch {
            return Err(MapRejection::Replaced { shown: signed.key_epoch(), seen: pin.key_epoch });
        }
        match &self.map {
            Some(kept) if shown < kept.map().version => {
                Err(MapRejection::Older { shown, known: kept.map().version })
            }
            Some(kept) if shown == kept.map().version => {
                if signed.text() == kept.text() {
                    Ok(MapUpdate::Same)
                } else {
                    Err(MapRejection::Conflict(shown))
                }
            }
            _ => Ok(MapUpdate::New),
        }
    }
}

/// Checks that an owner has appointed this node for this epoch.
fn check_appointment(
    shown: &CoordinatorProof,
    owners: &[PublicKey],
) -> Result<(), UntrustedCoordinator> {
    let statement = shown.statement.ok_or(UntrustedCoordinator::NoStatement(shown.epoch))?;
    let said = statement.body();
    if (said.coordinator, said.epoch) != (shown.node, shown.epoch) {
        return Err(UntrustedCoordinator::WrongStatement);
    }
    if owners.contains(&said.owner) {
        Ok(())
    } else {
        Err(UntrustedCoordinator::NoOwner(said.owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::certificate::{Certificate, KeyStatement as Said};
    use octet_node::key::PrivateKey;
    use octet_node::map::{Map, Member};
    use octet_node::statement::Appointment;

    fn key() -> PrivateKey {
        PrivateKey::generate().unwrap()
    }

    fn shown(
        node: &PrivateKey,
        epoch: u64,
        statement: Option<SignedAppointment>,
    ) -> CoordinatorProof {
        CoordinatorProof { node: node.public(), key_epoch: 3, epoch, statement }
    }

    fn appoint(
        owner: &PrivateKey,
        coordinator: &PrivateKey,
        epoch: u64,
    ) -> Option<SignedAppointment> {
        let (public, coordinator) = (owner.public(), coordinator.public());
        let appointment = Appointment { owner: public, coordinator, epoch, replaces: None };
        Some(SignedAppointment::sign(appointment, owner).unwrap())
    }

    fn pinned(coordinator: &PrivateKey, epoch: u64) -> PersistedPin {
        let pin = Pin { coordinator: coordinator.public(), epoch, key_epoch: 3 };
        PersistedPin { pin: Some(pin), ..PersistedPin::default() }
    }

    #[test]
    fn the_first_coordinator_stays() {
        let (coordinator, other, owner) = (key(), key(), key());
        let owners = [owner.public()];
        let pin = PersistedPin::default().verify(&shown(&coordinator, 1, None), &owners).unwrap();
        assert_eq!(
            PersistedPin { pin: Some(pin), ..PersistedPin::default() },
            pinned(&coordinator, 1)
        );
        let kept = pinned(&coordinator, 1);
        assert_eq!(kept.verify(&shown(&coordinator, 1, None), &owners), Ok(pin));
        let (shown_key, known) = (other.public(), coordinator.public());
        assert_eq!(
            kept.verify(&shown(&other, 1, None), &owners),
            Err(UntrustedCoordinator::NotAppointed { shown: shown_key, known })
        );
        let old = CoordinatorProof { key_epoch: 2, ..shown(&coordinator, 1, None) };
        assert_eq!(
            kept.verify(&old, &owners),
            Err(UntrustedCoordinator::Replaced { shown: 2, seen: 3 })
        );
        assert_eq!(
            kept.verify(&shown(&coordinator, 2, None), &owners),
            Err(UntrustedCoordinator::NoStatement(2))
        );
        // A first coordinator cannot claim an epoch that no owner could exceed.
        let first = PersistedPin::default().verify(&shown(&coordinator, u64::MAX, None), &owners);
        assert_eq!(first, Err(UntrustedCoordinator::NoStatement(u64::MAX)));
    }

    #[test]
    fn another_one_by_the_word_of_an_owner() {
        let (coordinator, other, owner, stranger) = (key(), key(), key(), key());
        let owners = [owner.public()];
        let kept = pinned(&coordinator, 4);
        let judge = |shown| kept.verify(&shown, &owners).map(|pin| pin.epoch);
        assert_eq!(judge(shown(&other, 5, appoint(&owner, &other, 5))), Ok(5));
        assert_eq!(judge(shown(&coordinator, 5, appoint(&owner, &coordinator, 5))), Ok(5));
        assert_eq!(
            judge(shown(&other, 5, appoint(&stranger, &other, 5))),
            Err(UntrustedCoordinator::NoOwner(stranger.public()))
        );
        for epoch in [3, 4] {
            let old = judge(shown(&other, epoch, appoint(&owner, &other, epoch)));
            assert_eq!(old, Err(UntrustedCoordinator::OldEpoch { shown: epoch, known: 4 }));
        }
        for statement in [appoint(&owner, &coordinator, 5), appoint(&owner, &other, 6)] {
            assert_eq!(
                judge(shown(&other, 5, statement)),
                Err(UntrustedCoordinator::WrongStatement)
            );
        }
        assert_eq!(
            judge(shown(&coordinator, 3, None)),
            Err(UntrustedCoordinator::OldEpoch { shown: 3, known: 4 })
        );
        let fresh = PersistedPin::default();
        let appointed = shown(&other, 5, appoint(&owner, &other, 5));
        assert_eq!(fresh.verify(&appointed, &owners).unwrap().epoch, 5);
        assert!(fresh.verify(&appointed, &[]).is_err());
    }

    #[test]
    fn only_newer_maps() {
        let (coordinator, signing) = (key(), key());
        let signed = |epoch, sequence, key_epoch, revoked: u8| {
            let (node, unit) = (coordinator.public(), "cluster".parse().unwrap());
            let said = Said { node, unit, key: signing.public(), epoch: key_epoch, issued: 1 };
            let certificate = Certificate::sign(said, &coordinator).unwrap();
            let (addresses, certificates) = (vec![], vec![certificate.clone()]);
            let member =
                Member { number: 0, node, addresses, certificates, record: None, drained: false };
            let revoked = vec![PrivateKey::from_seed([revoked; 32]).unwrap().public()];
            let map = Map::new(node, MapVersion { epoch, sequence }, vec![member], revoked);
            SignedMap::sign(map, certificate, &signing).unwrap()
        };
        let kept = PersistedPin { map: Some(signed(4, 10, 3, 1)), ..pinned(&coordinator, 4) };
        let pin = kept.pin.unwrap();
        assert_eq!(kept.accept(&pin, &signed(4, 11, 3, 2)), Ok(MapUpdate::New));
        assert_eq!(kept.accept(&pin, &signed(4, 10, 3, 1)), Ok(MapUpdate::Same));
        let version = |epoch, sequence| MapVersion { epoch, sequence };
        assert_eq!(
            kept.accept(&pin, &signed(4, 10, 3, 2)),
            Err(MapRejection::Conflict(version(4, 10)))
        );
        let old = MapRejection::Older { shown: version(4, 9), known: version(4, 10) };
        assert_eq!(kept.accept(&pin, &signed(4, 9, 3, 2)), Err(old));
        for epoch in [3, 5] {
            let other = MapRejection::OtherEpoch { shown: epoch, known: 4 };
            assert_eq!(kept.accept(&pin, &signed(epoch, 11, 3, 2)), Err(other));
        }
        let replaced = MapRejection::Replaced { shown: 2, seen: 3 };
        assert_eq!(kept.accept(&pin, &signed(4, 11, 2, 2)), Err(replaced));
        // A new coordinator restarts at 1, in a higher epoch.
        let next = Pin { epoch: 5, ..pin };
        assert_eq!(kept.accept(&next, &signed(5, 1, 3, 2)), Ok(MapUpdate::New));
        let other = Pin { coordinator: key().public(), ..pin };
        assert_eq!(
            kept.accept(&other, &signed(4, 11, 3, 2)),
            Err(MapRejection::OtherCoordinator(coordinator.public()))
        );
    }
}
