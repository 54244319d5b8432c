//! What the router of a box is to do, whatever kind of router it is, and the same in OpenWrt's words. Nothing here
//! touches a machine.
//!
//! [`plan`] says who may reach whom and where everybody is, with [`built_in`] lines; [`explain`] and [`report`] put
//! that into words, and [`openwrt`] into what a router with OpenWrt is to be told. [`matrix`] holds what boards have sent
//! each other against it.

pub mod built_in;
pub mod explain;
pub mod kind;
pub mod matrix;
pub mod openwrt;
pub mod plan;
pub mod report;
