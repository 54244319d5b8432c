//! The client of a router against a simulated one: connection, changes, faults.

#![cfg(test)]

mod apply;
mod client;
mod faults;
mod full;
mod halves;
mod site;
mod waiting;
