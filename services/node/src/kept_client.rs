//! A connection to another unit that is made when it is needed, and again after an error.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use octet_control::{CallError, Client};
use serde_json::{Map, Value};

/// A client of the unit at a socket.
#[derive(Debug)]
pub struct KeptClient {
    socket: PathBuf,
    /// How long an answer may take.
    timeout: Duration,
    client: Option<Client<UnixStream>>,
}

impl KeptClient {
    /// Nothing is connected yet.
    pub fn new(socket: PathBuf, timeout: Duration) -> Self {
        Self { socket, timeout, client: None }
    }

    /// Calls a verb without arguments.
    ///
    /// # Errors
    /// As [`call_with`](Self::call_with).
    pub fn call(&mut self, verb: &str) -> Result<Value, CallError> {
        self.call_with(verb, Map::new())
    }

    /// Calls a verb.
    ///
    /// # Errors
    /// The unit cannot be reached, does not answer or refuses; unless it has refused, the next call connects anew.
    pub fn call_with(&mut self, verb: &str, args: Map<String, Value>) -> Result<Value, CallError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => {
                let new = Client::connect(&self.socket)?;
                new.stream().set_read_timeout(Some(self.timeout))?;
                new
            }
        };
        let answer = client.call(verb, args);
        if matches!(answer, Ok(_) | Err(CallError::Failure(_))) {
            self.client = Some(client);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;
    use serde_json::json;
    use std::os::unix::net::UnixListener;
    use std::thread;
    use tempfile::TempDir;

    #[test]
    fn one_connection_until_an_error() {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("socket");
        let mut client = KeptClient::new(socket.clone(), octet_as_pid_1::TIMEOUT);
        assert!(matches!(client.call("count"), Err(CallError::Connect { .. })));
        let listener = UnixListener::bind(&socket).unwrap();
        // Two answers on the first connection, which then closes, and one on the second.
        thread::spawn(move || {
            for connection in 1..=2 {
                let mut peer = Peer::new(listener.accept().unwrap().0);
                for answer in connection..=2 {
                    let request = peer.next_request().unwrap().unwrap();
                    peer.end(request.id, Ok(json!([connection, answer]))).unwrap();
                }
                let _ = peer.next_request();
            }
        });
        assert_eq!(client.call("count").unwrap(), json!([1, 1]));
        assert_eq!(client.call("count").unwrap(), json!([1, 2]));
        assert!(matches!(client.call("count"), Err(CallError::Closed)));
        assert_eq!(client.call("count").unwrap(), json!([2, 2]));
    }
}
