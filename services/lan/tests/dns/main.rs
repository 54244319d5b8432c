//! End-to-end tests of the resolver on loopback; upstreams are threads of the test. Each refused
//! case follows an allowed one with the same setup.

#![cfg(test)]

mod client;
mod forwarding;
mod host;
mod limits;
mod names;
mod registering;
mod spoofing;
mod upstream;
