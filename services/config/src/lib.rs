//! config says which settings are in force: what the image was built with, or a copy that an operator
//! has given the box since. A change is checked by those that read it, tried, and undone by itself
//! unless somebody confirms it, so that nobody locks himself out for good.
//!
//! A [copy](copy) is a file whose [name](name) says how it stands; [what a start begins with](start)
//! follows from the names alone. The [keeper] makes changes in an order in which any cut leaves the old
//! one or the new one. [Who may](permit) is decided from who has signed.

// What is said is one line, whatever another has put into it: `octet_node::say`.
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod copy;
pub mod difference;
pub mod keeper;
pub mod name;
pub mod permit;
pub mod place;
pub mod readers;
mod serve;
mod service;
pub mod settings;
pub mod start;
pub mod store;
pub mod warrant;

pub use service::{main, run};
