//! A test double of a router with OpenWrt: it simulates `rpcd`, `uhttpd`, `uci`, `netifd` and
//! `fw4`, as far as a remote configuration needs them. It is compared with recordings of a real
//! router (`tests/recordings.rs`), has no clock but the one that a test advances, and imports
//! nothing of the code under test.
//!
//! [`Router`] is the router: [`ubus`] are the methods, [`session`] the logins and their
//! permissions, [`uci`] the configuration, [`network`] and [`firewall`] the resulting state of the
//! daemons; [`http`] is the HTTP interface, and [`server`] the same over TLS, with faults on
//! demand. As a guest of a test (`guest/main.rs`), the configuration of its daemons is applied to a
//! kernel.

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
