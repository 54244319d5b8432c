//! The patch panel: the wires of the guests' network cards end in the test.
//!
//! A card ([`Builder::nic`](crate::Builder::nic)) is one end of a pair of Unix sockets, each datagram
//! an Ethernet frame; the other end is a [`Port`]. A test reads and sends frames there itself, joins
//! two ports by a [`Wire`] that it can record, slow down and cut, has a [`Patch`] panel for many, or is a whole board: a [`Station`]
//! says single packets and hears what comes back, a [`Host`] has TCP, and [`DhcpServer`] gives
//! addresses. The [`switchboard`] is everybody around a router at once, and [`raw`] frames are what
//! attacks are made of. Programs of this host get in by a [`hub`]. No packet leaves the test.

#[cfg(feature = "stack")]
mod dhcp;
#[cfg(feature = "stack")]
mod host;
pub mod hub;
#[cfg(feature = "stack")]
pub mod outside;
#[cfg(feature = "stack")]
mod packet;
mod patch;
#[cfg(feature = "stack")]
pub mod peer;
mod port;
#[cfg(feature = "stack")]
pub mod raw;
#[cfg(feature = "stack")]
pub mod router;
#[cfg(feature = "stack")]
mod station;
#[cfg(feature = "stack")]
pub mod switchboard;
mod wire;

#[cfg(feature = "stack")]
pub use dhcp::DhcpServer;
#[cfg(feature = "stack")]
pub use host::Host;
#[cfg(feature = "stack")]
pub use packet::{Kind, Segment};
pub use patch::{FrameAction, Jack, Patch};
pub use port::{Mac, Port};
pub(crate) use port::{Nic, Sockets};
#[cfg(feature = "stack")]
pub use station::{Reply, Station};
pub use wire::{End, RecordedFrame, Verdict, Wire};
