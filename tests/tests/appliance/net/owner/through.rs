//! A file through the gate to a service and back: the gate calls the service directly, and PID 1 is
//! not involved.

use std::io;
use std::net::Ipv4Addr;

use octet_control::Client;
use octet_control::file::{ChunkBytes, FileArg, Source};
use octet_tests::soak;
use serde_json::json;

use crate::net::owner::door::as_operator;
use crate::net::owner::site::Site;

/// The operator's address: another host at the link.
const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 73);

/// PID 1's CPU time must be below this fraction of that of gate and service together. If it
/// forwarded their data, it would take about as much as one of them.
const PART: u64 = 20;

/// The maximum growth of PID 1, in bytes: its buffers for answers.
const GROWTH: u64 = 256 << 10;

/// A file that is not in memory: byte N is computed from N.
struct Pattern {
    size: u64,
}

fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

impl Source for Pattern {
    fn describe(&self) -> FileArg {
        FileArg { size: Some(self.size), sha256: None }
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (self.size.saturating_sub(at)).min(buffer.len() as u64) as usize;
        for (index, place) in buffer[..count].iter_mut().enumerate() {
            *place = byte(at + index as u64);
        }
        Ok(count)
    }
}

/// Every byte returns, and PID 1's CPU time and memory do not grow with the data.
pub fn past_pid_1(site: &Site<'_>) {
    let size: u64 = if soak() { 1 << 30 } else { 2 << 20 };
    let cpu = |name: &str| {
        let status = site.machine.status().unwrap();
        let unit = |name| status.unit(name).unwrap().cpu.unwrap();
        (unit(name) + unit("gate"), status.init_cpu, status.memory.init_rss)
    };
    let mut client = Client::new(as_operator(site, FROM, "anna"));
    client = client.with_unit(Some("mirror".parse().unwrap()));
    let mut give = |size| {
        let (mut file, mut at) = (Pattern { size }, 0);
        let args = json!({ "file": file.describe() });
        let end = client.call_with(
            "give-back",
            args.as_object().unwrap().clone(),
            Some(&mut file),
            |item| {
                let chunk: ChunkBytes = serde_json::from_value(item.clone()).unwrap();
                for given in chunk.bytes() {
                    assert_eq!(*given, byte(at), "byte {at}");
                    at += 1;
                }
                true
            },
        );
        (end.unwrap(), at)
    };
    // A first transfer warms up all code.
    assert_eq!(give(1 << 17).1, 1 << 17);
    let before = cpu("mirror");
    let (end, came) = give(size);
    let after = cpu("mirror");
    assert_eq!((end["bytes"].as_u64(), came), (Some(size), size));
    let settings = site.json("anna", &["config", "show", "--section", "appliance"]);
    assert_eq!(end["name"], settings["name"]);
    let (theirs, own, grown) =
        (after.0 - before.0, after.1 - before.1, after.2.saturating_sub(before.2));
    println!(
        "{size} bytes there and back: gate and service {theirs} ms, PID 1 {own} ms, {grown} bytes more"
    );
    // It has applied the current settings, and not only those at its start.
    assert_ne!(end["name"], "octet");
    assert!(own * PART <= theirs && grown <= GROWTH, "{own} of {theirs} ms, {grown} bytes");
    let metrics = site.json("anna", &["mirror", "metrics"]);
    let total = format!("mirror_bytes_total {}\n", size + (1 << 17));
    assert!(metrics["text"].as_str().unwrap().contains(&total), "{metrics}");
}
