//! A router between the boards of a box, derived from the configuration alone.
//!
//! [`plan`] says which zone may reach which, and where each node is, for any kind of router;
//! [`guard`] and [`firewall`] are its nftables [`table`]s.

pub mod chain;
pub mod drawn;
pub mod firewall;
pub mod flows;
pub mod guard;
pub mod table;
pub(crate) mod text;

pub use octet_router::{built_in, explain, kind, plan, report};
