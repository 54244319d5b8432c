//! The control server: verbs and clients.

mod answer;
mod client;
mod clients;
mod show;
mod verbs;

pub use clients::LogClients;
