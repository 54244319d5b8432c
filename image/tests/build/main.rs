//! The builder, run as a person runs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod debian;
mod interrupted;
mod mistakes;
mod sandbox;
mod store;
mod update;
