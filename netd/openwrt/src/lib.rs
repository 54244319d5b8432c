//! Manages a router with OpenWrt, from the owner's machine or from the unit `router`: what the
//! router lacks of the plan, how the plan is applied, and what its daemons have made of it.
//!
//! [`https`] is the connection, [`ubus`] the calls, and [`state`] the router's current
//! configuration. [`mod@apply`] changes it, and can roll back; [`mod@kept`] stores its previous
//! configuration; [`mod@diff`] and [`mod@lacks`] report differences from the plan, and [`adopt`]
//! prepares a new router.

pub mod adopt;
pub mod apply;
pub mod desired;
pub mod diff;
pub mod https;
pub mod missing;
pub mod saved;
pub mod state;
pub mod ubus;
pub mod verify;
