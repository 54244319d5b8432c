//! The server. Units are answered while a change is being made.

mod answer;
mod verbs;

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use octet_node::Callers;
use octet_node::serve::threads::{self, ConnectionLimits};

use crate::keeper::Readers;
use crate::store::Folder;
pub use answer::Config;

/// Units that read settings call one verb and disconnect.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 24, for_operators: 8, of_one: 4 };

/// Serves the connections to `listener`, forever.
pub fn serve<F, R>(
    listener: &UnixListener,
    config: &Arc<Config<F, R>>,
    callers: &Callers,
) -> io::Result<Infallible>
where
    F: Folder + Send + 'static,
    R: Readers + 'static,
{
    threads::serve(listener, callers, LIMITS, verbs::verbs(), config.clone())
}
