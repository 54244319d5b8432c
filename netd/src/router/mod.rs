//! A router between the boards of a box: everything about it is made from the configuration alone.
//!
//! [`plan`] says who may reach whom and where everybody is, for any kind of router; [`guard`] and
//! [`firewall`] are the kernel's [`table`]s for it.

pub mod chain;
pub mod drawn;
pub mod firewall;
pub mod flows;
pub mod guard;
pub mod table;
pub(crate) mod text;

pub use octet_router::{built_in, explain, kind, plan, report};
