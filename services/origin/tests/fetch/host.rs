//! The server on a socket, a client of it, and upstreams.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use octet_appliance::Appliance;
use octet_origin::FetchOrigins;
use octet_origin::server::{FetchServer, serve};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A limit that even a slow machine does not reach.
pub const TIMEOUT: Duration = Duration::from_secs(180);

pub const ALLOW: &str = "allow = [\"127.0.0.0/8\"]\n";

/// An upstream that answers each connection with the same bytes, and closes it.
pub struct TestUpstream {
    pub address: SocketAddr,
    /// The heads that have come.
    pub heads: Receiver<String>,
}

pub fn upstream(answer: impl Into<Vec<u8>>) -> TestUpstream {
    let answer = answer.into();
    serving(move |stream| {
        let _ = stream.write_all(&answer);
    })
}

/// An upstream whose connections are given to `act` once their head has come.
pub fn serving(mut act: impl FnMut(&mut std::net::TcpStream) + Send + 'static) -> TestUpstream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heads) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = vec![];
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                head.push(byte[0]);
            }
            if sender.send(String::from_utf8(head).unwrap()).is_err() {
                return;
            }
            act(&mut stream);
        }
    });
    TestUpstream { address, heads }
}

/// The unit with the origin `web`.
pub struct TestUnit {
    folder: TempDir,
    _runtime: Runtime,
    _origins: watch::Sender<Arc<FetchOrigins>>,
}

pub fn unit(upstream: &str, lines: &str) -> TestUnit {
    unit_with(upstream, lines, true, rustix::process::geteuid().as_raw())
}

pub fn unit_with(upstream: &str, lines: &str, is_time_set: bool, client: u32) -> TestUnit {
    let text = format!(
        "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[[origin]]\nname = \"web\"\nupstream = \"{upstream}\"\n{lines}"
    );
    let appliance = Appliance::parse("appliance.toml", &text).unwrap();
    let origins = FetchOrigins::new(&appliance.origin, appliance.cluster.as_ref()).unwrap();
    let folder = TempDir::new().unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (sender, origins) = watch::channel(Arc::new(origins));
    let server = FetchServer { origins, client, is_time_set: Arc::new(move || is_time_set) };
    let path = folder.path().join("fetch");
    let _entered = runtime.enter();
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    runtime.spawn(serve(listener, server));
    drop(_entered);
    TestUnit { folder, _runtime: runtime, _origins: sender }
}

#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub is_whole: bool,
}

impl Answer {
    pub fn code(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The error of `Proxy-Status`.
    pub fn error(&self) -> &str {
        let line = self.head.lines().find_map(|line| line.strip_prefix("proxy-status: "));
        line.and_then(|it| it.split("error=").nth(1)).unwrap_or("")
    }
}

impl TestUnit {
    pub fn exchange(&self, request: &str) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.folder.path().join("fetch")).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut all = vec![];
        // A refused client may find the socket closed.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut all);
        all
    }

    pub fn get(&self, path: &str, fields: &str) -> Answer {
        self.ask("GET", path, fields)
    }

    pub fn ask(&self, method: &str, path: &str, fields: &str) -> Answer {
        let all = self.exchange(&format!("{method} {path} HTTP/1.1\r\nHost: web\r\n{fields}\r\n"));
        let end = all.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(all[..end].to_vec()).unwrap().to_ascii_lowercase();
        let body = all[end + 4..].to_vec();
        let length = head.lines().find_map(|it| it.strip_prefix("content-length: "));
        let is_whole = match length {
            Some(length) => method == "HEAD" || body.len() == length.parse::<usize>().unwrap(),
            None => body.ends_with(b"0\r\n\r\n"),
        };
        Answer { head, body, is_whole }
    }
}
