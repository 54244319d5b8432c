//! The server: verbs, and the clients that ask.

mod answer;
mod client;
mod clients;
mod show;
mod verbs;

pub use clients::LogClients;
