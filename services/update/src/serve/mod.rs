//! The server: one client may change slots at a time, while others can call read-only verbs.

mod state;
mod upload;
mod verbs;

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener;

use octet_node::Callers;
use octet_node::serve::threads::{self, ConnectionLimits};

pub use state::SharedState;

/// Almost all clients are operators.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 8, for_operators: 4, of_one: 2 };

/// Serves `listener` forever.
pub fn serve(
    listener: &UnixListener,
    work: SharedState,
    callers: &Callers,
) -> io::Result<Infallible> {
    threads::serve(listener, callers, LIMITS, verbs::verbs(), work)
}
