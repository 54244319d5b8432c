//! Reference values for a benchmark, measured inside the box: the duration of plain writes to the
//! medium of the slots, and the memory of a process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use octet_guests::processes;
use octet_guests::service::{notify, serve, unknown};
use octet_node::control::{Failure, FailureCode, Request};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use serde_json::{Value, json};

/// The mount point of the EFI system partition, which is mounted as `update` does it.
const POINT: &str = "/efi";

/// The size of a write, as by `dd bs=1M`.
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

/// Writes files of the sizes `sizes` to the partition `device`, each until it is synced. Returns
/// the durations in nanoseconds; mounting before and removing the files afterwards are not
/// included.
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
