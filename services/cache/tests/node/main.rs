//! Nodes over loopback: responses to browsers, transfers to and from a plain client of iroh-blobs,
//! fetches from other nodes, and the data after a kill.

#![cfg(test)]

mod beside;
mod client;
mod fetching;
mod folders;
mod host;
mod http;
mod keep;
mod killed;
mod limits;
mod memory;
mod names;
mod neighbours;
mod numbers;
mod origin;
mod paths;
mod policy;
mod private;
mod provider;
mod put;
mod request;
mod rotated;
mod scrub;
mod small;
mod timeouts;
mod verbs;
