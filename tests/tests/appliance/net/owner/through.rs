//! A file through the gate to a service and back: the gate asks the service itself, and PID 1 has no part in it.

use std::io;
use std::net::Ipv4Addr;

use octet_control::Client;
use octet_control::file::{ChunkBytes, FileArg, Source};
use octet_tests::soak;
use serde_json::json;

use crate::net::owner::door::as_operator;
use crate::net::owner::site::Site;

/// Where the operator is: a neighbour of the test's computer.
const FROM: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 73);

/// Of the processor time of gate and service together, a part that PID 1 would exceed if it handed on what they say
/// to each other: then it takes about as much as one of them.
const PART: u64 = 20;

/// So much may PID 1 grow, in bytes: what it keeps for answers.
const GROWTH: u64 = 256 << 10;

/// A file that is not all in memory: byte N is chosen by N.
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

/// Every byte comes back, and neither PID 1's time nor its memory goes with them.
pub fn past_pid_1(site: &Site<'_>) {
    let size: u64 = if soak() { 1 << 30 } else { 8 << 20 };
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
    // Once before, so that everything has been in memory.
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
    // It has read what is in force, and not only at its start.
    assert_ne!(end["name"], "octet");
    assert!(own * PART <= theirs && grown <= GROWTH, "{own} of {theirs} ms, {grown} bytes");
    let metrics = site.json("anna", &["mirror", "metrics"]);
    let total = format!("mirror_bytes_total {}\n", size + (1 << 17));
    assert!(metrics["text"].as_str().unwrap().contains(&total), "{metrics}");
}
