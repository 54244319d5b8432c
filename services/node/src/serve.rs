//! A service's socket: who has a place at it, what it can be asked, and how it answers: with a thread for each client
//! ([`threads`]), or with one for all (`tasks`).

#[cfg(test)]
#[cfg(feature = "tasks")]
mod bounds;
pub mod places;
#[cfg(feature = "tasks")]
pub mod tasks;
pub mod threads;
pub mod verbs;
