//! A service's socket: connection limits, verbs, and the two servers: a thread per client ([`threads`]), or one
//! thread for all (`tasks`).

#[cfg(test)]
#[cfg(feature = "tasks")]
mod bounds;
pub(crate) mod connection;
pub mod places;
#[cfg(feature = "tasks")]
pub mod tasks;
pub mod threads;
pub mod verbs;
