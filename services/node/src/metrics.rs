//! Numbers for Prometheus: their format, and few connections at which they are given out.

pub mod exposition;
mod request;
pub mod server;
