//! The same plan on a router with OpenWrt: what its configuration (UCI) lacks, and what in it stands against the plan.
//! Nothing here speaks to a router.
//!
//! [`uci`] is its configuration as `uci export` writes it, [`router`] what a router's says of its switch and its zones,
//! [`sections`] the plan in its words, and [`change`] what leads from one to the other. [`bypass`] is what of the owner's
//! leads past it.

pub mod bypass;
pub mod change;
pub mod router;
pub mod sections;
pub mod uci;
