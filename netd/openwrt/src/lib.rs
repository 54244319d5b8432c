//! A router with OpenWrt, spoken to from the owner's machine: what it lacks of the plan, how it is brought there, and what
//! its daemons have made of that.
//!
//! [`https`] is the way to it, [`ubus`] what can be called there, [`state`] what it says of itself. [`mod@apply`] changes it,
//! and can undo; [`mod@lacks`] tells what is not as wanted, and [`adopt`] what a new router needs first.

pub mod adopt;
pub mod apply;
pub mod https;
pub mod lacks;
pub mod state;
pub mod ubus;
pub mod verify;
pub mod wanted;
