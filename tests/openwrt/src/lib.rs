//! A test double of a router with OpenWrt: what its `rpcd`, `uhttpd`, `uci`, `netifd` and `fw4` answer, as far as somebody
//! needs it who sets the router up from afar. It is held against recordings of a real one (`tests/recordings.rs`), has
//! no clock but the one that a test turns, and imports nothing of what speaks to it.
//!
//! [`Router`] is the router: [`ubus`] what can be called, [`session`] by whom, [`uci`] its configuration, [`network`]
//! and [`firewall`] what its daemons make of that; [`http`] is how it is asked, and [`server`] the same over TLS, with
//! faults on demand. As a guest of a test (`guest/main.rs`) what its daemons run is put on a kernel.

mod certificate;
pub mod firewall;
pub mod http;
pub mod network;
pub mod router;
pub mod server;
pub mod session;
pub mod ubus;
pub mod uci;
mod uci_object;

pub use router::Router;
pub use server::{Fault, Server};
