//! What speaks to a router, and a double of one: client, changes, faults.

#![cfg(test)]

mod apply;
mod client;
mod faults;
mod full;
mod halves;
mod site;
mod waiting;
