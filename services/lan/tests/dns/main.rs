//! The resolver from end to end, on loopback, with servers outside that are threads of the test: for
//! each that is refused, what is allowed comes first, on the same set-up.

#![cfg(test)]

mod client;
mod forwarding;
mod host;
mod limits;
mod names;
mod registering;
mod spoofing;
mod upstream;
