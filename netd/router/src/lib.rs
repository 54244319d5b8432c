//! The plan for the router of a box, for any kind of router, and the same plan as OpenWrt
//! configuration. Nothing here touches a machine.
//!
//! [`plan`] says which zone may reach which and where each node is, with the [`built_in`] rules;
//! [`explain`] and [`report`] describe that in words, and [`openwrt`] as the configuration of a
//! router with OpenWrt. [`matrix`] compares what boards have sent each other with the plan.

pub mod built_in;
pub mod explain;
pub mod kind;
pub mod matrix;
pub mod openwrt;
pub mod plan;
pub mod report;
