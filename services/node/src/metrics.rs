//! Prometheus metrics: their format, and a small HTTP server.

pub mod exposition;
mod request;
pub mod server;
