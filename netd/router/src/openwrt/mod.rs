//! The plan for a router with OpenWrt: what its configuration (UCI) lacks, and what in it conflicts
//! with the plan. Nothing here talks to a router.
//!
//! [`uci`] is the configuration as `uci export` writes it, [`router`] reads a router's switch and
//! zones from it, [`sections`] is the plan as UCI sections, and [`change`] leads from one to the
//! other. [`bypass`] finds the owner's configuration that bypasses the plan.

pub mod bypass;
pub mod change;
pub mod router;
pub mod sections;
pub mod uci;
