//! Connection limits of update's socket, by the users that the kernel reports.

#![cfg(test)]

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use octet_as_pid_1::{connect_as, open_to_all, unprivileged};
use octet_node::Callers;
use octet_node::control::Client;
use octet_update::serve::{SharedState, serve};
use tempfile::TempDir;

/// A timeout that only a hanging test reaches.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection of `user` to `socket`; `None` if it is refused.
fn served(user: u32, socket: &Path) -> Option<Client<UnixStream>> {
    let mut client = Client::new(connect_as(user, socket).unwrap());
    client.stream().set_read_timeout(Some(TIMEOUT)).unwrap();
    client.describe().is_ok().then_some(client)
}

#[test]
fn nobody_keeps_operators_out() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("update.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    open_to_all(&socket).unwrap();
    let greedy = unprivileged();
    let callers = Callers::parse(&format!("{greedy}=status")).unwrap();
    std::thread::spawn(move || serve(&listener, SharedState::new(None), &callers));

    let all = |user| std::iter::from_fn(|| served(user, &socket)).take(100).collect::<Vec<_>>();
    let held = all(greedy);
    assert_eq!(held.len(), 2);
    // Only root can connect as other users.
    if rustix::process::geteuid().is_root() {
        let strangers = all(65533);
        assert_eq!(strangers.len(), 0);
        assert_eq!(all(0).len(), 6);
    }
}
