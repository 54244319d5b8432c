//! Nodes over loopback: what browsers get, what a plain client of iroh-blobs gets and gives, what comes from other
//! nodes, and what is left after a kill.

#![cfg(test)]

mod beside;
mod client;
mod fetching;
mod host;
mod http;
mod killed;
mod limits;
mod memory;
mod names;
mod numbers;
mod policy;
mod provider;
mod put;
mod request;
mod rotated;
mod small;
mod verbs;
