//! A node with the origin `web`, the unit `origin`, and the web server.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use octet_appliance::Appliance;
use octet_cache::limits::CacheLimits;
use octet_origin::FetchOrigins;
use octet_origin::server::{FetchServer, serve};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::host::{Node, limits};
use crate::request::{Answer, say};

/// What the web server does with a connection once it has the head of the request.
type Act = Box<dyn FnMut(&mut TcpStream) + Send>;

/// A web server. It answers by its list, the last entry again and again, and without one it is dead.
pub struct Web {
    pub port: u16,
    acts: Arc<Mutex<VecDeque<Act>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (acts, heads) = (Arc::new(Mutex::new(VecDeque::<Act>::new())), Arc::default());
        let web = Self { port, acts: Arc::clone(&acts), heads: Arc::clone(&heads) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut act = acts.lock().unwrap().pop_front();
                let Some(run) = &mut act else { continue };
                let (mut head, mut byte) = (vec![], [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                run(&mut stream);
                let mut acts = acts.lock().unwrap();
                if acts.is_empty() {
                    acts.extend(act);
                }
            }
        });
        web
    }

    /// Answers with these bytes from now on.
    pub fn answers(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.does(move |stream| {
            let _ = stream.write_all(&bytes);
        });
    }

    pub fn does(&self, act: impl FnMut(&mut TcpStream) + Send + 'static) {
        *self.acts.lock().unwrap() = VecDeque::from([Box::new(act) as Act]);
    }

    /// Closes each connection without an answer from now on.
    pub fn dies(&self) {
        self.does(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    /// Sends `start` at once, and `rest` when the returned sender says so, or is dropped.
    pub fn answers_in_two(&self, start: Vec<u8>, rest: Vec<u8>) -> Sender<()> {
        let (go, wait): (Sender<()>, Receiver<()>) = channel();
        self.does(move |stream| {
            stream.write_all(&start).unwrap();
            let _ = wait.recv();
            let _ = stream.write_all(&rest);
        });
        go
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    pub fn last(&self) -> String {
        self.heads.lock().unwrap().last().unwrap().to_ascii_lowercase()
    }
}

/// A response with a length.
pub fn ok(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub struct Stand {
    pub web: Web,
    pub node: Node,
    origins: watch::Receiver<Arc<FetchOrigins>>,
    // The last one, because nodes and units run in it.
    pub runtime: tokio::runtime::Runtime,
}

pub fn stand(lines: &str) -> Stand {
    stand_with(limits(), lines)
}

pub fn stand_with(limits: CacheLimits, lines: &str) -> Stand {
    let web = Web::start();
    let runtime = crate::host::runtime();
    let (origins, appliance) = sections(web.port, lines);
    let (_, origins) = watch::channel(origins);
    let node = runtime.block_on(node(TempDir::new().unwrap(), limits, &appliance, origins.clone()));
    Stand { web, node, origins, runtime }
}

pub fn sections(port: u16, lines: &str) -> (Arc<FetchOrigins>, Appliance) {
    let text = format!(
        "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[[origin]]\nname = \"web\"\nupstream = \"http://127.0.0.1:{port}\"\nallow = [\"127.0.0.0/8\"]\n{lines}\n"
    );
    let appliance = Appliance::parse("appliance.toml", &text).unwrap();
    let origins = FetchOrigins::new(&appliance.origin, appliance.cluster.as_ref()).unwrap();
    (Arc::new(origins), appliance)
}

async fn node(
    folder: TempDir,
    limits: CacheLimits,
    appliance: &Appliance,
    origins: watch::Receiver<Arc<FetchOrigins>>,
) -> Node {
    let node = Node::start_in(folder, limits).await;
    let front = &node.gateway.state.as_ref().unwrap().origins;
    front.set_origins("octet", &appliance.origin, None);
    fetch_unit(&node, origins);
    node
}

/// The unit `origin` beside the node.
pub fn fetch_unit(node: &Node, origins: watch::Receiver<Arc<FetchOrigins>>) {
    let listener = tokio::net::UnixListener::bind(node.folder.path().join("fetch.sock")).unwrap();
    let client = rustix::process::geteuid().as_raw();
    let server = FetchServer { origins, client, is_time_set: Arc::new(|| true) };
    tokio::spawn(serve(listener, server));
}

impl Stand {
    pub fn get(&self, path: &str, fields: &str) -> Answer {
        self.ask("GET", path, fields)
    }

    pub fn ask(&self, method: &str, path: &str, fields: &str) -> Answer {
        say(self.node.http, &head(method, path, fields))
    }

    /// Waits until no response arrives, so all that may be stored is.
    pub fn settled(&self) {
        let arriving = self.node.folder.path().join("arriving");
        let is_empty = || std::fs::read_dir(&arriving).unwrap().next().is_none();
        let front = &self.node.gateway.state.as_ref().unwrap().origins;
        self.runtime
            .block_on(crate::host::until("all is stored", || is_empty() && front.is_idle()));
    }

    /// The number of objects of the store.
    pub fn objects(&self) -> usize {
        self.node.objects.policy().usage().objects
    }

    /// The settings of the cache name another upstream.
    pub fn other_upstream(&self) {
        let (_, appliance) = sections(1, "");
        let front = &self.node.gateway.state.as_ref().unwrap().origins;
        front.set_origins("octet", &appliance.origin, None);
    }

    /// The node again with what is on the disk, as after a kill.
    pub fn killed(&mut self, lines: &str) {
        let (_, appliance) = sections(self.web.port, lines);
        let copy = self.runtime.block_on(self.node.killed());
        std::fs::copy(self.node.folder.path().join("origins.db"), copy.path().join("origins.db"))
            .unwrap();
        std::fs::create_dir(copy.path().join("arriving")).unwrap();
        std::fs::write(copy.path().join("arriving/7"), b"remains").unwrap();
        self.node = self.runtime.block_on(node(copy, limits(), &appliance, self.origins.clone()));
    }
}

pub fn head(method: &str, path: &str, fields: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: web.octet.internal:8080\r\nConnection: close\r\n{fields}\r\n"
    )
}

/// The field `Cache-Status`.
pub fn status(answer: &Answer) -> &str {
    answer.header("cache-status")
}
