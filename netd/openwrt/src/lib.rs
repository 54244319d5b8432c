//! A router with OpenWrt, spoken to from the owner's machine or by the unit `router`: what it lacks of the plan, how it is brought there, and what
//! its daemons have made of that.
//!
//! [`https`] is the way to it, [`ubus`] what can be called there, [`state`] what it says of itself. [`mod@apply`] changes it,
//! and can undo; [`mod@kept`] is what it had before; [`mod@diff`] and [`mod@lacks`] tell what is not as wanted, and [`adopt`] what a new router needs first.

pub mod adopt;
pub mod apply;
pub mod diff;
pub mod https;
pub mod kept;
pub mod lacks;
pub mod state;
pub mod ubus;
pub mod verify;
pub mod wanted;
