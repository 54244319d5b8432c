//! Why an update is refused, with what to do.

use octet_bundle::{HeadError, ManifestError};
use octet_esp::plan::NoRoom;
use octet_node::control::{Failure, FailureCode};

#[derive(Debug, thiserror::Error)]
pub enum UpdateRefusal {
    /// The bundle's head is invalid or truncated.
    #[error("{0}")]
    Head(#[from] HeadError),
    /// The signed manifest cannot be parsed.
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    /// The box has no trusted keys.
    #[error("this box takes no updates: `[trust] update_keys` of its appliance.toml is empty")]
    NoKeys,
    /// There is no signature of a supported kind.
    #[error("the update's signature is not one of minisign")]
    NoSignature,
    /// No trusted key has signed it, or it was altered.
    #[error("the update is not signed by a key that this box trusts, or was changed since")]
    Untrusted,
    /// The signing key was revoked.
    #[error("the update is signed by a key that was revoked")]
    Revoked,
    /// It is for another kind of machine.
    #[error("the update is for {update}, and this box is {this}")]
    OtherTarget { update: String, this: String },
    /// It is not newer than the running slot.
    #[error("the update has sequence {update}, and this box runs {running} already")]
    NotNewer {
        update: u64,
        /// The running slot's number.
        running: u64,
    },
    /// It is below the floor.
    #[error("{what} has sequence {sequence}, and this box takes nothing below {floor} any more")]
    BelowFloor {
        /// The update, or a slot.
        what: String,
        sequence: u64,
        floor: u64,
    },
    /// It has the same files as a slot that must stay.
    #[error("slot {0} is on this box already, and in use")]
    InUse(String),
    /// The update would take the place of the only good slot.
    #[error(
        "slot {0} runs and is not good, and the update would take the place of the slot to return to"
    )]
    NotGood(String),
    /// The slots' data formats are incompatible.
    #[error("the running slot and the update cannot read each other's data")]
    Data,
    #[error("the update needs {needed} bytes on the EFI system partition, and {free} are free")]
    NoRoom {
        needed: u64,
        /// The bytes that are free after all removable slots are deleted.
        free: u64,
    },
    /// The file's size is wrong.
    #[error(
        "the update has {size} bytes and should have {wanted}: it is cut off, or is something else"
    )]
    Size { size: u64, wanted: u64 },
    /// There is no slot to roll back to.
    #[error("there is no other slot that was good")]
    NoOther,
    /// The running slot is unknown.
    #[error("this box was not started from a slot")]
    NoSlot,
    /// The running slot has no manifest.
    #[error("the running slot {0} has no manifest on the EFI system partition")]
    NoManifest(String),
}

impl UpdateRefusal {
    fn help(&self) -> &'static str {
        match self {
            Self::Head(_) | Self::Size { .. } => {
                "send the file that `cargo image bundle` made, whole"
            }
            Self::Manifest(_) => {
                "make the update with the version that this box runs, or an older one"
            }
            Self::NoKeys => "flash an image whose appliance.toml names your key",
            Self::NoSignature | Self::Untrusted => {
                "sign it with the key whose public part stands in [trust] update_keys"
            }
            Self::Revoked => "sign it with another key that the box trusts",
            Self::OtherTarget { .. } => "build it with --target for this kind of machine",
            Self::NotNewer { .. } | Self::BelowFloor { .. } => {
                "sign it again with a higher sequence: `cargo image sign --sequence N`"
            }
            Self::InUse(_) => {
                "`update status` shows the slots; `update rollback` starts the one before"
            }
            Self::NotGood(_) => {
                "install it once `update status` shows the running slot as good; after a rollback `reboot` first"
            }
            Self::Data => "go over in two steps: first to a version that reads both formats",
            Self::NoRoom { .. } => "leave packages or modules out of appliance.toml",
            Self::NoOther => "install an update instead",
            Self::NoSlot => "boot it from its disk",
            Self::NoManifest(_) => "flash the box once with an image of this version",
        }
    }
}

impl From<NoRoom> for UpdateRefusal {
    fn from(NoRoom { needed, free }: NoRoom) -> Self {
        Self::NoRoom { needed, free }
    }
}

impl From<UpdateRefusal> for Failure {
    fn from(refusal: UpdateRefusal) -> Self {
        let code = match refusal {
            UpdateRefusal::Untrusted | UpdateRefusal::Revoked | UpdateRefusal::NoKeys => {
                FailureCode::Denied
            }
            _ => FailureCode::Failed,
        };
        Self::new(code, refusal.to_string(), refusal.help())
    }
}
