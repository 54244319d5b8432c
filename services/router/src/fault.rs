//! Errors of this unit, with what to do.

use std::io;

use octet_appliance::Fingerprint;
use octet_node::control::{CallError, Failure, FailureCode};
use octet_openwrt::apply::ApplyError;
use octet_openwrt::ubus::UbusError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum RouterFault {
    /// The box has no router.
    #[error("the settings have no [cluster]")]
    NoCluster,
    /// The box's router does not run OpenWrt.
    #[error("the settings say that the router runs Octet")]
    OwnRouter,
    /// The settings lack the router's address.
    #[error("the settings do not say where the router is")]
    NoContact,
    /// This board is not the coordinator.
    #[error("this is {own}, and the manager is {manager}: use that board")]
    NotManager { own: String, manager: String },
    /// PID 1 does not return the board number.
    #[error("PID 1 does not say which board this is: {0}")]
    NoNumber(#[from] CallError),
    /// There is no password.
    #[error("no password of the router is stored here")]
    NoPassword,
    /// The stored password is for another router.
    #[error("the stored password is for a router with another certificate")]
    OtherRouter,
    /// The settings name another router than the owner does.
    #[error("the settings name a router with another certificate: {0}")]
    OtherSet(Fingerprint),
    #[error("the first line of the file is no password")]
    WrongFile,
    /// There is no data folder.
    #[error("there is no data folder for it")]
    NoFolder,
    /// An operation on the data folder failed.
    #[error("the password cannot be {0}: {1}")]
    Disk(&'static str, io::Error),
    /// Another call is changing the router.
    #[error("another change of the router is in progress")]
    Busy,
    /// The change failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The change was rolled back.
    #[error("the router is as it was before: {0}")]
    Undone(String),
}

impl RouterFault {
    fn help(&self) -> String {
        let help = match self {
            Self::NoCluster | Self::OwnRouter => "say `router = \"openwrt\"` in [cluster]",
            Self::NoContact => {
                "say `router = { kind = \"openwrt\", address = …, fingerprint = … }` in [cluster]"
            }
            Self::NotManager { .. } => {
                "ask the board with the role `manager`; `router logout` takes away what is kept here"
            }
            Self::NoNumber(_) => "ask again",
            Self::NoPassword => "`router login FINGERPRINT FILE` takes it: the first line of FILE",
            Self::OtherRouter => {
                "if the settings name the right router, `router login FINGERPRINT FILE` takes its password"
            }
            Self::OtherSet(_) => {
                "compare it with the router's own; `config history` shows who changed the settings"
            }
            Self::WrongFile => "name a file whose first line is the password",
            Self::NoFolder | Self::Disk(..) | Self::Apply(ApplyError::Copy(_)) => {
                "see that the data partition is there and has room: `boot` says what became of it"
            }
            Self::Busy => "wait for it to end: it takes a few minutes at most",
            Self::Apply(ApplyError::Ubus(UbusError::Login(_))) => {
                "`router login FINGERPRINT FILE` takes another password; `octetctl openwrt adopt ADDRESS` says how a login is made"
            }
            Self::Apply(error) => return error.help(),
            Self::Undone(_) => {
                "`router diff` lists what was to be changed; an interface of a switch without any link is not up"
            }
        };
        help.to_owned()
    }

    fn code(&self) -> FailureCode {
        match self {
            Self::Busy | Self::Apply(ApplyError::Ubus(UbusError::Waiting(_))) => FailureCode::Busy,
            Self::WrongFile | Self::OtherSet(_) => FailureCode::BadArgument,
            Self::NoPassword => FailureCode::NotFound,
            _ => FailureCode::Failed,
        }
    }
}

impl From<RouterFault> for Failure {
    fn from(fault: RouterFault) -> Self {
        Self::new(fault.code(), fault.to_string(), fault.help())
    }
}
