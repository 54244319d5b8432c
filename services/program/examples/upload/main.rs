//! Measures `octetctl cache add` through the gate, for `cargo image bench --only upload`, which
//! compiles it like the shipped programs. Prints JSON: bytes per second, and the peak memory of
//! gate and cache in bytes.
//!
//! ```text
//! upload FOLDER BYTES MILLISECONDS
//!     a file of BYTES over a link with a round trip of MILLISECONDS, over one without latency, and
//!     by plain TCP over the first one
//! ```
//!
//! `FOLDER` is for files and sockets, so its path must be short. Gate, cache and `octetctl` run the
//! shipped code in processes of their own; this process simulates PID 1 and identity.

mod link;
mod stand_in;

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use octet_as_pid_1::RETRY_DELAY;
use octet_node::Callers;
use octet_node::control::PublicKey;
use octet_node::control::operator::{Operator, OperatorKey};
use octet_node::key::PrivateKey;
use rustix::process::{Signal, geteuid, set_parent_process_death_signal};
use serde_json::{Value, json};

type Failed = Box<dyn Error>;

/// The arguments that make the process a gate or a cache.
const GATE: &str = "gate";
const CACHE: &str = "cache";

/// The program name that makes the process octetctl.
const OCTETCTL: &str = "octetctl";

/// Loopback with a port that the kernel selects.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A timeout that only a hanging run reaches.
const LONGEST: Duration = Duration::from_secs(180);

const USAGE: &str = "upload FOLDER BYTES MILLISECONDS";

fn main() -> ExitCode {
    let words: Vec<String> = env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [called, ..] if Path::new(called).file_name().is_some_and(|name| name == OCTETCTL) => {
            return octetctl::main();
        }
        [_, GATE, folder, operators] => gate(Path::new(folder), operators),
        [_, CACHE, folder] => cache(Path::new(folder)),
        [_, folder, bytes, milliseconds] => measure(Path::new(folder), bytes, milliseconds),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the gate; its socket and those of the units are in `folder`.
fn gate(folder: &Path, operators: &str) -> Result<(), Failed> {
    end_with_parent()?;
    let port = TcpListener::bind(LOOPBACK)?;
    let at = port.local_addr()?;
    let parts = octet_gate::GateConfig {
        operators: serde_json::from_str(operators)?,
        limits: octet_gate::limits::GateLimits::default(),
        folder: Some(folder.join("gate")),
        sockets: folder.to_owned(),
        port,
        board_port: 0,
        control: UnixListener::bind(folder.join("gate.sock"))?,
        callers: callers(""),
    };
    octet_gate::run(parts, || ready(folder, &at.to_string()))?;
    Ok(())
}

/// Runs the cache without other units; its socket is in `folder`.
fn cache(folder: &Path) -> Result<(), Failed> {
    end_with_parent()?;
    let state = folder.join("cache");
    let parts = octet_cache::CacheConfig {
        limits: octet_cache::limits::CacheLimits::default(),
        settings: None,
        folder: Some(state.clone()),
        sockets: state,
        addresses: vec![LOOPBACK],
        http: TcpListener::bind(LOOPBACK)?,
        metrics: TcpListener::bind(LOOPBACK)?,
        control: UnixListener::bind(folder.join("cache.sock"))?,
        callers: callers("*"),
    };
    octet_cache::run(parts, || ready(&folder.join("cache"), ""))?;
    Ok(())
}

/// Permits these verbs to the current user, and all verbs to root.
fn callers(verbs: &str) -> Callers {
    let list = format!("{}=add,{verbs}", geteuid().as_raw());
    Callers::parse(&list).unwrap_or_default()
}

/// Kills this process when its parent ends, for whatever reason.
fn end_with_parent() -> Result<(), Failed> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Writes a file to `folder` that reports the service as ready.
fn ready(folder: &Path, word: &str) -> io::Result<()> {
    fs::write(folder.join("new"), word)?;
    fs::rename(folder.join("new"), folder.join("ready"))
}

/// A child process with a service.
struct Service(Child);

impl Service {
    /// Starts the process, and waits for its ready file in `folder`, whose content is returned.
    fn start(words: &[&str], folder: &Path) -> Result<(Self, String), Failed> {
        let mut command = Command::new(env::current_exe()?);
        let child = command.args(words).stdout(Stdio::null()).spawn()?;
        let (mut service, deadline) = (Self(child), Instant::now() + LONGEST);
        loop {
            if let Ok(word) = fs::read_to_string(folder.join("ready")) {
                return Ok((service, word));
            }
            if let Some(status) = service.0.try_wait()? {
                return Err(format!("{} has ended: {status}", words[0]).into());
            }
            if Instant::now() > deadline {
                return Err(format!("{} does not become ready", words[0]).into());
            }
            thread::sleep(RETRY_DELAY);
        }
    }

    /// The peak memory in bytes (`VmHWM` in proc_pid_status(5)).
    fn peak(&self) -> Result<u64, Failed> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes.ok_or("the kernel does not say it")?.trim().parse::<u64>()? << 10)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An operator's files for a gate.
struct Site<'a> {
    folder: &'a Path,
    key: PathBuf,
    node: PublicKey,
}

fn measure(folder: &Path, bytes: &str, milliseconds: &str) -> Result<(), Failed> {
    let bytes: u64 = bytes.parse()?;
    let round_trip = Duration::from_millis(milliseconds.parse()?);
    for name in [GATE, CACHE] {
        fs::create_dir_all(folder.join(name))?;
    }
    let node = PrivateKey::generate()?;
    let site = Site { folder, key: folder.join("key"), node: node.public() };
    let key =
        octet_node::key::create(&site.key, octet_node::durable::ExistingFile::Keep, |_| Ok(()))?;
    let keys = vec![OperatorKey {
        key: key.public(),
        name: "anna".parse()?,
        may: vec!["own".to_owned().try_into()?],
    }];
    let operators = json!(Operator { keys }).to_string();
    stand_in::init(&folder.join("init.sock"))?;
    stand_in::identity(&folder.join("identity.sock"), node)?;
    symlink(env::current_exe()?, folder.join(OCTETCTL))?;
    let path = folder.display().to_string();
    let (cache, _) = Service::start(&[CACHE, &path], &folder.join(CACHE))?;
    let (gate, at) = Service::start(&[GATE, &path, &operators], folder)?;
    let at: SocketAddr = at.parse()?;

    let speed = |took: Duration| bytes as f64 / took.as_secs_f64();
    let delayed = speed(site.add(1, bytes, link::start(at, round_trip)?)?);
    let peaks = [gate.peak()?, cache.peak()?];
    let direct = speed(site.add(2, bytes, at)?);
    let tcp = speed(tcp(bytes, round_trip)?);
    let [gate, cache] = peaks;
    let measured = json!({
        "delayed": delayed, "direct": direct, "tcp": tcp, "gate_bytes": gate, "cache_bytes": cache,
    });
    println!("{measured}");
    Ok(())
}

impl Site<'_> {
    /// The duration of `octetctl cache add` with a file of this size.
    fn add(&self, seed: u64, bytes: u64, gate: SocketAddr) -> Result<Duration, Failed> {
        let file = self.folder.join(format!("file-{seed}"));
        io::copy(&mut Noise(seed).take(bytes), &mut File::create(&file)?)?;
        let mut command = Command::new(self.folder.join(OCTETCTL));
        command.arg("--box").arg(format!("{}@{gate}", self.node)).arg("--key").arg(&self.key);
        command.args(["--json", CACHE, "add"]).arg(&file);
        command.env("XDG_CONFIG_HOME", self.folder).stdin(Stdio::null());
        let began = Instant::now();
        let output = command.output()?;
        let took = began.elapsed();
        fs::remove_file(&file)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let added: Value = serde_json::from_slice(&output.stdout)?;
        if added["size"] != bytes {
            return Err(format!("something else was added: {added}").into());
        }
        Ok(took)
    }
}

/// The duration of a plain TCP transfer of this size, from the connection to the receiver's
/// confirmation.
fn tcp(bytes: u64, round_trip: Duration) -> Result<Duration, Failed> {
    let sink = TcpListener::bind(LOOPBACK)?;
    let at = link::start(sink.local_addr()?, round_trip)?;
    thread::spawn(move || -> io::Result<()> {
        let (mut stream, _) = sink.accept()?;
        io::copy(&mut stream, &mut io::sink())?;
        stream.write_all(b"all")
    });
    let file = vec![7; link::READ];
    let began = Instant::now();
    let mut stream = TcpStream::connect(at)?;
    let mut left = bytes;
    while left > 0 {
        let count = left.min(file.len() as u64);
        stream.write_all(&file[..usize::try_from(count)?])?;
        left -= count;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    if said != "all" {
        return Err("the bytes have not come".into());
    }
    Ok(began.elapsed())
}

/// Incompressible bytes that are determined by the seed (SplitMix64, Steele 2014).
struct Noise(u64);

impl Read for Noise {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for word in buffer.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(mixed ^ mixed >> 31).to_le_bytes()[..word.len()]);
        }
        Ok(buffer.len())
    }
}
