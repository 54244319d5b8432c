//! What a unit may do and see.

use serde::{Deserialize, Serialize};

use super::device::DevicePath;
use super::system_calls::CallGroup;
use crate::path::TreePath;

/// What is not named here is not allowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Sandbox {
    /// The capabilities it has (capabilities(7), without `CAP_`); all others are out of its reach
    /// for good.
    pub capabilities: Vec<Capability>,
    /// Whether no program that it executes can gain privileges (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
    /// Groups of system calls that it may use, `service` among them; `all` stands for no filter.
    pub system_calls: Vec<CallGroup>,
    /// Paths under which it may read and execute (Landlock); `/` stands for all.
    pub read: Vec<TreePath>,
    /// Paths under which it may also write (Landlock), besides its data folder, /tmp and the
    /// devices that it sees; `/` stands for all.
    pub write: Vec<TreePath>,
    /// Whether it has a /tmp of its own, empty at each start, in memory, of 16 MiB at most.
    pub private_tmp: bool,
    /// Whether it sees no devices but null, zero, full, random and urandom, and those of `devices`.
    pub private_dev: bool,
    /// Character devices that it sees, too, and may read and write, if they exist when it starts:
    /// `/dev/i2c-N`, `/dev/spidevN.N`, `/dev/gpiochipN`, `/dev/ttyUSBN`, `/dev/ttyACMN`, `/dev/hwrng`.
    pub devices: Vec<DevicePath>,
    /// Paths that it sees mounted read-only.
    pub read_only: Vec<TreePath>,
    /// The network that it sees.
    pub network: NetworkAccess,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self {
            capabilities: vec![],
            no_new_privs: true,
            system_calls: vec![CallGroup::Service],
            read: vec![TreePath::all()],
            write: vec![],
            private_tmp: true,
            private_dev: true,
            devices: vec![],
            read_only: vec![],
            network: NetworkAccess::Own,
        }
    }
}

/// The network that a unit sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NetworkAccess {
    /// One without any interface that is up (network_namespaces(7)). Units that can neither change it
    /// nor reach each other in it share one: those with Landlock (`write` is not `/`; Linux 6.12)
    /// and without `NET_ADMIN` and `NET_RAW`. In it a name of an abstract socket, or a port, can be
    /// taken once; nobody but the unit that took it can connect to it.
    Own,
    /// That of the board.
    Host,
}

/// A capability (capabilities(7), linux/capability.h), in the kernel's order: its number is its
/// place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Capability {
    /// `CAP_CHOWN`
    Chown,
    /// `CAP_DAC_OVERRIDE`
    DacOverride,
    /// `CAP_DAC_READ_SEARCH`
    DacReadSearch,
    /// `CAP_FOWNER`
    Fowner,
    /// `CAP_FSETID`
    Fsetid,
    /// `CAP_KILL`
    Kill,
    /// `CAP_SETGID`
    Setgid,
    /// `CAP_SETUID`
    Setuid,
    /// `CAP_SETPCAP`
    Setpcap,
    /// `CAP_LINUX_IMMUTABLE`
    LinuxImmutable,
    /// `CAP_NET_BIND_SERVICE`
    NetBindService,
    /// `CAP_NET_BROADCAST`
    NetBroadcast,
    /// `CAP_NET_ADMIN`
    NetAdmin,
    /// `CAP_NET_RAW`
    NetRaw,
    /// `CAP_IPC_LOCK`
    IpcLock,
    /// `CAP_IPC_OWNER`
    IpcOwner,
    /// `CAP_SYS_MODULE`
    SysModule,
    /// `CAP_SYS_RAWIO`
    SysRawio,
    /// `CAP_SYS_CHROOT`
    SysChroot,
    /// `CAP_SYS_PTRACE`
    SysPtrace,
    /// `CAP_SYS_PACCT`
    SysPacct,
    /// `CAP_SYS_ADMIN`
    SysAdmin,
    /// `CAP_SYS_BOOT`
    SysBoot,
    /// `CAP_SYS_NICE`
    SysNice,
    /// `CAP_SYS_RESOURCE`
    SysResource,
    /// `CAP_SYS_TIME`
    SysTime,
    /// `CAP_SYS_TTY_CONFIG`
    SysTtyConfig,
    /// `CAP_MKNOD`
    Mknod,
    /// `CAP_LEASE`
    Lease,
    /// `CAP_AUDIT_WRITE`
    AuditWrite,
    /// `CAP_AUDIT_CONTROL`
    AuditControl,
    /// `CAP_SETFCAP`
    Setfcap,
    /// `CAP_MAC_OVERRIDE`
    MacOverride,
    /// `CAP_MAC_ADMIN`
    MacAdmin,
    /// `CAP_SYSLOG`
    Syslog,
    /// `CAP_WAKE_ALARM`
    WakeAlarm,
    /// `CAP_BLOCK_SUSPEND`
    BlockSuspend,
    /// `CAP_AUDIT_READ`
    AuditRead,
    /// `CAP_PERFMON`
    Perfmon,
    /// `CAP_BPF`
    Bpf,
    /// `CAP_CHECKPOINT_RESTORE`
    CheckpointRestore,
}

impl Capability {
    /// Whether a unit that has it could become another, or the machine: an owner's unit never has
    /// such a one.
    pub fn is_of_others(self) -> bool {
        matches!(
            self,
            Self::Chown
                | Self::DacOverride
                | Self::DacReadSearch
                | Self::Fowner
                | Self::Kill
                | Self::Setgid
                | Self::Setuid
                | Self::Setpcap
                | Self::IpcOwner
                | Self::SysModule
                | Self::SysRawio
                | Self::SysPtrace
                | Self::SysAdmin
                | Self::SysBoot
                | Self::Mknod
                | Self::Setfcap
                | Self::MacOverride
                | Self::MacAdmin
                | Self::Perfmon
                | Self::Bpf
                | Self::CheckpointRestore
        )
    }

    /// Its name in a unit file.
    pub fn name(self) -> String {
        // Every one is a plain word to serde.
        toml::Value::try_from(self)
            .ok()
            .and_then(|value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}
