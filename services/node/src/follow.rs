//! Follows a verb of another unit that returns its data now and at each change.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::{Builder, sleep};
use std::time::Duration;

use octet_control::{CallError, Client};
use serde::de::DeserializeOwned;
use serde_json::Map;

use crate::say;

/// The thread's stack size in bytes: it parses maps.
const STACK: usize = 256 << 10;

/// The first pause before the unit is called again: about the time of its restart.
const RETRY_DELAY: Duration = Duration::from_millis(200);

const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Passes each item of `verb` to `news`, until that returns `false` or the unit at `socket` ends. The caller's
/// unit file needs the verb in `talks`.
///
/// # Errors
/// The unit does not answer, or with something else. The caller should retry after a pause.
pub fn follow<T: DeserializeOwned>(
    socket: &Path,
    verb: &str,
    mut news: impl FnMut(T) -> bool,
) -> Result<(), CallError> {
    let mut client = Client::connect(socket)?;
    let mut problem = None;
    client.call_each(verb, Map::new(), |item| match T::deserialize(item) {
        Ok(item) => news(item),
        Err(error) => {
            problem = Some(error);
            false
        }
    })?;
    problem.map_or(Ok(()), |problem| Err(problem.into()))
}

/// Does this in a thread, which calls the unit again when it ends. What was passed last stays valid until then.
/// The same error is logged once, after `trouble`.
///
/// # Errors
/// No thread can be started.
pub fn keep<T: DeserializeOwned>(
    socket: PathBuf,
    verb: &'static str,
    trouble: &'static str,
    mut news: impl FnMut(T) -> bool + Send + 'static,
) -> io::Result<()> {
    let run = move || {
        let (mut pause, mut logged, mut is_wanted) = (RETRY_DELAY, String::new(), true);
        while is_wanted {
            let followed = follow(&socket, verb, |item| {
                pause = RETRY_DELAY;
                is_wanted = news(item);
                is_wanted
            });
            if let Err(error) = followed.map_err(|error| error.to_string())
                && error != logged
            {
                say!("{trouble}: {error}");
                logged = error;
            }
            sleep(pause);
            pause = (pause * 2).min(MAX_RETRY_DELAY);
        }
    };
    Builder::new().name(verb.into()).stack_size(STACK).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;
    use serde_json::json;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc::channel;
    use tempfile::TempDir;

    #[test]
    fn a_unit_that_ends_is_called_again() {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, items) = channel();
        let news = move |item: u8| sender.send(item).is_ok() && item < 3;
        keep(socket, "count", "nobody counts", news).unwrap();
        for item in [json!(1), json!("something else"), json!(2), json!(3)] {
            let mut peer = Peer::new(listener.accept().unwrap().0);
            let request = peer.next_request().unwrap().unwrap();
            assert_eq!(request.verb, "count");
            peer.item(request.id, item).unwrap();
        }
        assert_eq!(items.iter().collect::<Vec<_>>(), [1, 2, 3]);
    }
}
