//! Simulates PID 1 and config: threads at sockets of the same names, with the verbs that the unit
//! file permits.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use octet_node::Peer;
use serde_json::{Map, Value, json};

use crate::host::unit;

fn serve(path: &Path, answer: impl Fn(UnixStream) -> io::Result<()> + Send + Sync + 'static) {
    let (listener, answer) = (UnixListener::bind(path).unwrap(), Arc::new(answer));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            // The client may have disconnected.
            thread::spawn(move || answer(stream));
        }
    });
}

/// PID 1: returns the board number.
#[derive(Clone)]
pub struct Init(pub Arc<Mutex<Option<u8>>>);

impl Init {
    pub fn start(folder: &Path, number: Option<u8>) -> Self {
        let number = Arc::new(Mutex::new(number));
        let shared = Arc::clone(&number);
        let may: Vec<_> = unit().talks.into_values().flatten().collect();
        serve(&folder.join("init.sock"), move |stream| {
            let mut peer = Peer::new(stream);
            while let Some(request) = peer.next_request()? {
                assert!(request.verb == "boot" && may.contains(&request.verb));
                peer.end(request.id, Ok(json!({ "board": *shared.lock().unwrap() })))?;
            }
            Ok(())
        });
        Self(number)
    }
}

/// config: the active and the pending sections.
#[derive(Clone)]
pub struct Config(Arc<Mutex<[Map<String, Value>; 2]>>);

impl Config {
    pub fn start(folder: &Path, sections: &Value) -> Self {
        let sections = sections.as_object().unwrap();
        let config = Self(Arc::new(Mutex::new([sections.clone(), sections.clone()])));
        let shared = config.clone();
        let may: Vec<_> = unit().config.iter().map(ToString::to_string).collect();
        serve(&folder.join("config.sock"), move |stream| {
            let mut peer = Peer::new(stream);
            while let Some(request) = peer.next_request()? {
                assert_eq!(request.verb, "sections");
                let is_next = request.args.get("next") == Some(&Value::Bool(true));
                let all = shared.0.lock().unwrap()[usize::from(is_next)].clone();
                let section = |name: &String| (name.clone(), all.get(name).cloned().into());
                let sections: Map<_, Value> = may.iter().map(section).collect();
                peer.end(request.id, Ok(sections.into()))?;
            }
            Ok(())
        });
        config
    }

    /// Sets the pending section `name` to `value`, and with `is_in_force` the active one, too.
    pub fn set(&self, name: &str, value: &Value, is_in_force: bool) {
        let mut all = self.0.lock().unwrap();
        let from = usize::from(!is_in_force);
        all[from..].iter_mut().for_each(|it| drop(it.insert(name.to_owned(), value.clone())));
    }
}
