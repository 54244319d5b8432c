//! The coordinator and its boards.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use octet_as_pid_1::pass_fds;
use octet_node::control::{CallError, Client};
use octet_node::follow::follow;
use octet_node::map::{MAP, Update};
use serde_json::{Map, Value, json};

use super::node::{ROLE, SOCKET, STATE};
use super::{Failed, TIMEOUT, stand_in};

/// The interval of queries whether all boards have a map: the resolution of the measurement.
const RETRY_DELAY: Duration = Duration::from_millis(1);

/// All nodes. They end when this is dropped.
pub struct Nodes {
    children: Vec<Child>,
    coordinator: PathBuf,
    boards: u8,
}

impl Nodes {
    /// Starts the coordinator and `boards`, in folders of their own in `folder`.
    pub fn start(folder: &Path, boards: u8) -> Result<Self, Failed> {
        let coordinator = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = coordinator.local_addr()?.port().to_string();
        let socket = folder.join("0").join(SOCKET);
        let mut nodes = Self { children: vec![], coordinator: socket, boards };
        for number in 0..=boards {
            let own = folder.join(number.to_string());
            fs::create_dir(&own)?;
            fs::create_dir(own.join(STATE))?;
            stand_in::start(&own, number, boards)?;
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(ROLE).arg(&own).args([&number.to_string(), &port]);
            command.stdout(Stdio::null()).stderr(fs::File::create(own.join("log"))?);
            if number == 0 {
                command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "enrolment");
                pass_fds(&mut command, &[coordinator.as_fd()])?;
            }
            nodes.children.push(command.spawn()?);
        }
        Ok(nodes)
    }

    /// Waits until all boards are enrolled and have the same map. Returns its length in bytes.
    pub fn whole(&self) -> Result<usize, Failed> {
        let deadline = Instant::now() + TIMEOUT;
        // Several maps follow each other: the last one is known when no other follows for a while.
        let mut last = Value::Null;
        loop {
            sleep(Duration::from_millis(500));
            let shown = self.show().unwrap_or_default();
            if self.have(&shown) && self.are_connected(&shown) && shown["sequence"] == last {
                break;
            }
            last = shown["sequence"].clone();
            if Instant::now() > deadline {
                return Err(format!("the box is not whole: {shown:#}").into());
            }
        }
        let mut length = 0;
        follow(&self.coordinator, MAP, |Update { map, .. }| {
            length = map.map_or(0, |map| map.text().len());
            length == 0
        })?;
        Ok(length)
    }

    /// Drains or undrains a board. Returns the time until all boards have the new map.
    pub fn change(&self, round: u32) -> Result<Duration, Failed> {
        let verb = if round.is_multiple_of(2) { "drain" } else { "undrain" };
        let number = round / 2 % u32::from(self.boards) + 1;
        let before = self.show()?["sequence"].clone();
        let began = Instant::now();
        self.ask(verb, &json!({ "number": number.to_string() }))?;
        loop {
            let shown = self.show()?;
            let took = began.elapsed();
            if shown["sequence"] != before && self.have(&shown) {
                return Ok(took);
            }
            if took > TIMEOUT {
                return Err(format!("not all boards have the map: {shown:#}").into());
            }
            sleep(RETRY_DELAY);
        }
    }

    /// Whether all boards have acknowledged the newest map.
    fn have(&self, shown: &Value) -> bool {
        let rows = shown["boards"].as_array().map(Vec::as_slice).unwrap_or_default();
        let has = rows.iter().filter(|row| row["has_map"] == shown["sequence"]);
        has.count() == usize::from(self.boards)
    }

    /// Whether all boards are connected: one may reconnect a while after it got the map.
    fn are_connected(&self, shown: &Value) -> bool {
        let rows = shown["boards"].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter(|row| row["connected"] == true).count() == usize::from(self.boards)
    }

    fn show(&self) -> Result<Value, CallError> {
        self.ask("show", &json!({}))
    }

    fn ask(&self, verb: &str, args: &Value) -> Result<Value, CallError> {
        let mut client = Client::connect(&self.coordinator)?;
        client.stream().set_read_timeout(Some(TIMEOUT))?;
        client.call(verb, args.as_object().map_or_else(Map::new, Clone::clone))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
