//! A process that runs cache as one node.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_as_pid_1::pass_fds;
use octet_cache::limits::CacheLimits;
use octet_cache::peers::PORT;
use octet_cache::settings::CacheSettings;
use octet_cache::{CacheConfig, run as run_cache};
use octet_node::control::{Client, PublicKey};
use octet_node::key::PrivateKey;
use octet_node::map::{SignedMap, Update};
use octet_node::settings::Which;
use octet_node::{Callers, inherited};
use rustix::process::{Signal, geteuid};
use serde_json::{Value, json};

use super::noise::Noise;
use super::{Failed, TIMEOUT, end_with_parent, http, stand_in};

/// The argument that makes a process run a node.
pub const ROLE: &str = "node";

/// Any port on loopback.
pub const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The name of the control socket, in the node's folder.
const SOCKET: &str = "cache.sock";

/// The name of the data folder, in the node's folder.
const STATE: &str = "state";

/// The verbs that the benchmark calls.
const VERBS: &str = "get,stats,token";

/// The maximum number of HTTP connections: more than in the release, because all clients have one
/// address here.
const CONNECTIONS: usize = 512;

/// The address of a node: all nodes use the same port.
fn address(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, number).into()
}

/// Runs node `number`, with the sockets that it inherits.
pub fn run(folder: &Path, number: u8) -> Result<Value, Failed> {
    // This runs first, before any other descriptor is opened.
    let mut sockets = inherited().into_iter().map(|(_, socket)| socket);
    let mut next = || sockets.next().ok_or("a socket was not passed");
    let (control, http, metrics) = (next()?, next()?, next()?);
    end_with_parent(Signal::KILL)?;
    let callers = Callers::parse(&format!("{}={VERBS}", geteuid().as_raw()));
    let limits = CacheLimits {
        http: CONNECTIONS,
        http_per_client: CONNECTIONS,
        is_disk_trusted: true,
        ..CacheLimits::default()
    };
    let parts = CacheConfig {
        limits,
        // Only a front has some.
        settings: match folder.join(stand_in::CONFIG).exists() {
            true => Some(CacheSettings::read(folder, Which::InForce)?),
            false => None,
        },
        folder: Some(folder.join(STATE)),
        sockets: folder.to_owned(),
        addresses: vec![SocketAddr::new(address(number), PORT)],
        http: TcpListener::from(http),
        metrics: TcpListener::from(metrics),
        control: UnixListener::from(control),
        callers: callers.ok_or("nobody may ask it")?,
    };
    run_cache(parts, || Ok(()))?;
    Ok(Value::Null)
}

/// The sockets that PID 1 would pass.
struct Sockets {
    control: UnixListener,
    http: TcpListener,
    metrics: TcpListener,
}

/// A process that runs a node.
pub struct Node {
    folder: PathBuf,
    number: u8,
    owner: Arc<PrivateKey>,
    sockets: Sockets,
    /// The number of other nodes that it knows.
    others: usize,
    child: Child,
}

/// A stored object.
pub struct Kept {
    pub hash: String,
    /// Its path over HTTP.
    pub path: String,
}

impl Node {
    /// Starts a node in `folder` that knows the nodes of `map`, and waits until it can be called
    /// and can fetch.
    pub fn start(folder: &Path, number: u8, map: Option<SignedMap>) -> Result<Self, Failed> {
        fs::create_dir_all(folder.join(STATE))?;
        let owner = Arc::new(PrivateKey::generate()?);
        let others = map.as_ref().map_or(0, |map| map.map().members.len());
        stand_in::start(folder, Arc::clone(&owner), &Update { number: Some(number), map })?;
        let sockets = Sockets {
            control: UnixListener::bind(folder.join(SOCKET))?,
            http: TcpListener::bind(LOOPBACK)?,
            metrics: TcpListener::bind(LOOPBACK)?,
        };
        let child = spawn(folder, number, &sockets)?;
        let node = Self { folder: folder.to_owned(), number, owner, sockets, others, child };
        node.wait()?;
        Ok(node)
    }

    /// Starts a node that has these sections as its settings, and knows no other node.
    pub fn start_as_front(folder: &Path, number: u8, sections: &Value) -> Result<Self, Failed> {
        fs::create_dir_all(folder)?;
        stand_in::configure(folder, number, sections)?;
        Self::start(folder, number, None)
    }

    /// Waits until it has so many objects.
    pub fn wait_for_objects(&self, count: u64) -> Result<(), Failed> {
        let deadline = Instant::now() + TIMEOUT;
        while self.ask("stats", &json!({}))?["objects"] != count {
            if Instant::now() > deadline {
                return Err(format!("{count} objects are not stored").into());
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Restarts it with the data on its disk.
    pub fn restart(&mut self) -> Result<(), Failed> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(&self.folder, self.number, &self.sockets)?;
        self.wait()
    }

    fn wait(&self) -> Result<(), Failed> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let stats = self.ask("stats", &json!({}))?;
            let known = stats["nodes"].as_array().map_or(0, Vec::len);
            if !stats["key"].is_null() && known == self.others {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("node {} is not reached: {stats:#}", self.number).into());
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// The address of its HTTP server.
    pub fn at(&self) -> SocketAddr {
        self.sockets.http.local_addr().unwrap_or(LOOPBACK)
    }

    /// Stores `size` bytes.
    pub fn put(&self, noise: Noise, size: u64) -> Result<Kept, Failed> {
        let made = self.ask("token", &json!({ "bytes": size.to_string() }))?;
        let token = made["token"].as_str().ok_or("there is no token")?;
        let path = http::put(self.at(), token, noise, size)?;
        let hash = path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Kept { hash, path })
    }

    /// The file of a large object.
    pub fn file(&self, hash: &str) -> PathBuf {
        self.folder.join(STATE).join(format!("store/data/{hash}.data"))
    }

    /// Fetches an object of `size` bytes from another node.
    pub fn fetch(&self, hash: &str, size: u64) -> Result<(), Failed> {
        let came = self.ask("get", &json!({ "hash": hash }))?;
        if came["size"] != size {
            return Err(format!("something else has come: {came}").into());
        }
        Ok(())
    }

    /// The membership map that lists it.
    pub fn map(&self) -> Result<SignedMap, Failed> {
        let stats = self.ask("stats", &json!({}))?;
        let id: iroh::EndpointId = stats["key"].as_str().unwrap_or_default().parse()?;
        let key = PublicKey::new(*id.as_bytes());
        stand_in::map(&self.owner, self.number, address(self.number), key)
    }

    fn ask(&self, verb: &str, args: &Value) -> Result<Value, Failed> {
        let mut client = Client::connect(&self.folder.join(SOCKET))?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        Ok(client.call(verb, args.as_object().cloned().unwrap_or_default())?)
    }

    /// The resident memory of the process, in bytes.
    pub fn resident(&self) -> Result<u64, Failed> {
        self.memory("VmRSS:")
    }

    /// The peak of the resident memory since the last reset, in bytes.
    pub fn peak(&self) -> Result<u64, Failed> {
        self.memory("VmHWM:")
    }

    /// Resets the peak of the resident memory (proc_pid_clear_refs(5)).
    pub fn forget_peak(&self) -> Result<(), Failed> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?)
    }

    /// Reads a line of proc_pid_status(5).
    fn memory(&self, name: &str) -> Result<u64, Failed> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes.ok_or("the kernel does not say it")?.trim().parse::<u64>()? << 10)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, number: u8, sockets: &Sockets) -> Result<Child, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ROLE).arg(folder).arg(number.to_string()).stdout(Stdio::null());
    command.env("LISTEN_FDS", "3").env("LISTEN_FDNAMES", "control:http:metrics");
    let Sockets { control, http, metrics } = sockets;
    pass_fds(&mut command, &[control.as_fd(), http.as_fd(), metrics.as_fd()])?;
    Ok(command.spawn()?)
}
