//! The configuration language of Octet: the content of `appliance.toml`, `unit.toml` and
//! `board.toml`.
//!
//! Text is parsed to types that cannot be invalid (newtypes, checked while parsing), and every
//! mistake is a [`FileError`] with file, line, column and what to do.

mod accounts;
mod allow_table;
mod appliance;
mod board_file;
mod board_id;
mod bytes;
mod characters;
mod cluster;
mod descriptor;
mod display;
mod document;
mod duration;
mod file_error;
mod fingerprint;
mod graph;
mod keep;
mod ledger;
mod name;
pub mod neighbour;
mod network;
mod object_name;
mod objects;
mod one_or_more;
pub mod operator;
mod origin;
mod path;
mod placement;
mod policy;
mod public_key;
mod section;
mod segments;
mod trust;
mod unit;
mod user;
mod vpn;

pub use accounts::{AccountsSection, MaxLoss};
pub use allow_table::{AllowRule, AllowTable};
pub use appliance::{Appliance, ApplianceSection, ImageSection, Service};
pub use board_file::BoardFile;
pub use board_id::{BoardId, InvalidBoardId};
pub use bytes::{Bytes, InvalidBytes};
pub use characters::is_control_or_format;
pub use cluster::{
    Board, Cluster, Enrol, InvalidCluster, Lan, Mac, Network4, Network6, RouterAddress,
    RouterContact, RouterKind,
};
pub use descriptor::{InvalidPeerDescriptor, PeerDescriptor};
pub use display::{DisplayController, DisplaySection, DisplaySize};
pub use document::parse;
pub use duration::{InvalidSpan, TimeSpan};
pub use file_error::{FileError, nearest};
pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use graph::{UnitSource, start_order};
pub use keep::{KeepRedundancy, KeepSection};
pub use ledger::{KeptBlocks, LedgerPeerSection, LedgerSection};
pub use name::{
    ApplianceName, InvalidName, ModuleName, NeighbourName, OperatorName, OriginName, PackageName,
    RoleName, UnitName,
};
pub use neighbour::{Endpoint, InvalidEndpoint, LINKS_PORT, Neighbour};
pub use network::{Addressing, Cidr, InvalidNetwork, LinkName, NetworkSettings};
pub use object_name::{
    InvalidNamePath, InvalidObjectHash, InvalidObjectName, LONGEST_NAME_PATH, NamePath, ObjectHash,
    ObjectName,
};
pub use objects::ObjectSettings;
pub use origin::{AllowedNetwork, HeaderBytes, OriginSeconds, OriginSection, Upstream};
pub use path::{ImagePath, InvalidPath, TreePath};
pub use placement::{PlacedUnits, format_boards, placement};
pub use policy::{
    InvalidPolicy, MPLS_IN_IP, Policy, PolicyTraffic, PolicyZone, PortRange, Publish,
    PublishTarget, ServiceName,
};
pub use public_key::{InvalidPublicKey, PublicKey};
pub use section::SettingsSection;
pub use segments::{
    ALL_PORTS, ClusterSettings, FlowKey, MASQUERADE_PORTS, Published, Segments, TrafficKind, Zone,
};
pub use trust::{HealthSection, InvalidUpdateKey, TrialTime, Trust, UpdateKey};

/// The program of PID 1, as a unit file names it: its file was removed with the initramfs.
pub const INIT_PROGRAM: &str = "/proc/self/exe";

/// The unit that receives the output of all others, and is stopped after them.
pub const LOGGER: &str = "logd";

/// The unit that knows the other nodes of the box.
pub const CLUSTER: &str = "cluster";

/// The unit that has the settings in force.
pub const CONFIG: &str = "config";

/// Path of the units of an image, in start order, as JSON for PID 1; the builder writes it.
pub const UNITS: &str = "/usr/lib/octet/units.json";

/// Path of the text of `appliance.toml` in the image: the settings until others are applied.
pub const APPLIANCE: &str = "/usr/lib/octet/appliance.toml";

/// Path of the checked content of that file, as JSON by section: a program that starts at boot
/// parses no TOML.
pub const SETTINGS: &str = "/usr/lib/octet/settings.json";

/// Path of the licences of everything in the image, and of the locations of the complete source of
/// each part, as JSON.
pub const LICENSES: &str = "/usr/lib/octet/licenses.json";

/// The folder of seccomp filters in the image: each file is an array of `struct sock_filter`
/// (linux/filter.h), little-endian.
pub const FILTERS: &str = "/usr/lib/octet/seccomp";

/// The folder of the units' sockets on an appliance: `/run/octet/<unit>.sock`.
pub const SOCKETS: &str = "/run/octet";

/// The file by which the unit `identity`, in its data folder, requests that the next boot erases
/// all data and is a first boot.
pub const RESET: &str = "/data/identity/reset";

/// The unit name under which PID 1 answers.
pub const INIT: &str = "init";

pub use unit::{
    CallGroup, Capability, DevicePath, InvalidDevice, InvalidPort, IoMax, Limits, Log,
    NetworkAccess, Port, Protocol, RawProtocol, Readiness, Restart, RestartPolicy, Sandbox, Signal,
    StartLimits, Stdio, Stop, Unit, UnitSocket, UnitType,
};
pub use user::{USERS, UnknownUser, User, UserName};
pub use vpn::{
    ExitNode, InvalidExit, MAX_EXIT_ADDRESSES, VPN_TABLE, Vpn, exit_address, exit_addresses,
    is_exit_address,
};
