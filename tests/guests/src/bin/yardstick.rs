//! What a benchmark holds the box against, from inside: how long plain writing takes on the medium
//! of the slots, and how much memory a process has.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use octet_guests::processes;
use octet_guests::service::{notify, serve, unknown};
use octet_node::control::{Failure, FailureCode, Request};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

/// Where the EFI system partition is mounted, as `update` does it.
const POINT: &str = "/efi";

/// What is written at once, as by `dd bs=1M`.
const PIECE: usize = 1 << 20;

fn main() -> io::Result<()> {
    serve(
        || notify("READY=1"),
        |request| match request.verb.as_str() {
            "write" => write(request).map_err(|error| failed(&error)),
            "memory" => memory(request).map_err(|error| failed(&error)),
            verb => Err(unknown(verb)),
        },
    )
}

/// Writes files of the sizes `sizes` onto the partition `device`, each until it is on the medium. How
/// long that took is `ns`; the partition is mounted before, and the files are removed after.
fn write(request: &Request) -> io::Result<Value> {
    let wrong = || io::Error::other("write DEVICE SIZES");
    let device = request.args.get("device").and_then(Value::as_str).ok_or_else(wrong)?;
    let sizes = request.args.get("sizes").and_then(Value::as_array).ok_or_else(wrong)?;
    let sizes: Option<Vec<u64>> = sizes.iter().map(Value::as_u64).collect();
    let sizes = sizes.ok_or_else(wrong)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount(device, POINT, c"vfat", flags, c"umask=0077,shortname=mixed,utf8,errors=continue")?;
    let took = write_all(&sizes);
    unmount(POINT, UnmountFlags::empty())?;
    Ok(json!({ "ns": took? }))
}

fn write_all(sizes: &[u64]) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    fastrand::fill(&mut piece);
    let names: Vec<_> =
        (0..sizes.len()).map(|n| Path::new(POINT).join(format!("yard{n}"))).collect();
    let began = Instant::now();
    for (path, size) in names.iter().zip(sizes) {
        let mut file = File::create(path)?;
        let mut left = *size;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            file.write_all(&piece[..now])?;
            left -= now as u64;
        }
        file.sync_all()?;
    }
    let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    names.iter().try_for_each(fs::remove_file)?;
    Ok(took)
}

/// The resident size of the process `pid`, in bytes.
fn memory(request: &Request) -> io::Result<Value> {
    let pid = request.args.get("pid").and_then(Value::as_u64);
    let found = processes::all(|other| Some(other) != pid)?;
    let process = found.first().ok_or_else(|| io::Error::other("there is no such process"))?;
    Ok(json!({ "rss": process.rss }))
}

fn failed(error: &io::Error) -> Failure {
    Failure::new(FailureCode::Failed, error.to_string(), "read the program")
}
