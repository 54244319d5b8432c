//! An example of a service: one verb, one setting, one metric. It returns the file that it
//! receives, part by part, and under the box's name.

use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use octet_node::control::file::{ChunkBytes, FileArg, MAX_CHUNK, MAX_WANT};
use octet_node::control::{Failure, FailureCode, Permission, Verb};
use octet_node::metrics::exposition::collector::Collector;
use octet_node::metrics::exposition::encoding::DescriptorEncoder;
use octet_node::metrics::exposition::{MetricKind, family, text};
use octet_node::serve::threads::{Call, ConnectionLimits, Verbs, serve};
use octet_node::serve::verbs::file;
use octet_node::settings::{SettingsError, next_section};
use octet_node::{notify_ready, run, section};
use serde::Deserialize;
use serde_json::{Value, json};

const LIMITS: ConnectionLimits = ConnectionLimits { all: 12, for_operators: 8, of_one: 2 };

/// The keys of `[appliance]` that it reads.
#[derive(Deserialize)]
struct Appliance {
    name: String,
}

#[derive(Default)]
struct Mirror {
    name: Mutex<String>,
    /// The number of returned bytes.
    bytes: AtomicU64,
}

impl Mirror {
    fn name(&self) -> MutexGuard<'_, String> {
        self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_settings(&self) -> Result<(), SettingsError> {
        *self.name() = section::<Appliance>("appliance")?.name;
        Ok(())
    }

    fn give_back(&self, call: &mut Call<'_>) -> Result<Value, Failure> {
        let gone = |_| Failure::new(FailureCode::Failed, "nobody takes it", "ask again");
        let mut at = 0;
        loop {
            let part = call.peer.read_part(call.id, at, MAX_WANT)?;
            for bytes in part.chunks(MAX_CHUNK) {
                let chunk = ChunkBytes::new(at, bytes.to_vec()).map(|chunk| json!(chunk));
                call.peer.item(call.id, chunk.unwrap_or_default()).map_err(gone)?;
                at += bytes.len() as u64;
            }
            self.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
            if part.len() < MAX_WANT as usize {
                return Ok(json!({ "name": *self.name(), "bytes": at }));
            }
        }
    }
}

/// The number of returned bytes.
#[derive(Debug)]
struct Given(u64);

impl Collector for Given {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> std::fmt::Result {
        let bytes = [(Vec::<(_, &str)>::new(), self.0)];
        family(&mut to, "bytes", MetricKind::Counter, "Bytes that were given back.", bytes)
    }
}

fn verbs() -> Verbs<Mirror> {
    let give = Verb::new("give-back", Permission::Operate, "Gives a file back, in parts");
    Verbs::default()
        .with(give, file("file", "The file"), |it: &Mirror, call, _: FileArg| it.give_back(call))
        .with_metrics(|it: &Mirror| text("mirror", Given(it.bytes.load(Ordering::Relaxed))))
        .with_settings(
            |_| Ok(next_section::<Appliance>("appliance").map(drop)?),
            |it| Ok(it.read_settings()?),
        )
}

fn main() -> ExitCode {
    run(|mut given| -> Result<(), Box<dyn std::error::Error>> {
        let (listener, mirror) = (given.socket::<UnixListener>("control")?, Mirror::default());
        mirror.read_settings()?;
        notify_ready()?;
        match serve(&listener, &given.callers, LIMITS, verbs(), mirror)? {}
    })
}
