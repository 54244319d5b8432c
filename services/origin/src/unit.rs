//! The unit: reads its settings, and serves the cache and `config`.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use octet_appliance::USERS;
use octet_node::control::{Client, Failure, FailureCode, Permission, SOCKETS, Verb};
use octet_node::serve::threads::{Call, ConnectionLimits, Verbs, serve};
use octet_node::serve::verbs::nothing;
use octet_node::settings::Which;
use octet_node::{notify_ready, say};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::server::{self, FetchServer};
use crate::settings::{FetchOrigins, FetchSettingsError};

/// The maximum number of connections, those reserved for operators, and the maximum per user.
const LIMITS: ConnectionLimits = ConnectionLimits { all: 8, for_operators: 4, of_one: 2 };

/// The unit that may fetch.
const CLIENT: &str = "cache";

struct OriginVerbs {
    origins: watch::Sender<Arc<FetchOrigins>>,
    sockets: PathBuf,
}

/// Runs the unit, with what PID 1 passes to it.
pub fn main() -> ExitCode {
    octet_node::run(|mut given| -> io::Result<()> {
        let sockets = PathBuf::from(SOCKETS);
        let origins = FetchOrigins::read(&sockets, Which::InForce).unwrap_or_else(|error| {
            say!("nothing is fetched: {error} ({})", error.help());
            FetchOrigins::default()
        });
        let (origins, followed) = watch::channel(Arc::new(origins));
        let fetch: UnixListener = given.socket("fetch")?;
        fetch.set_nonblocking(true)?;
        let client = USERS.iter().find(|user| user.name == CLIENT);
        let client = client.ok_or_else(|| io::Error::other("there is no user of the cache"))?.uid;
        let clock = sockets.join("clock.sock");
        let server = FetchServer { origins: followed, client, is_time_set: time_check(clock) };
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(8)
                .build()?;
            runtime.block_on(async {
                server::serve(tokio::net::UnixListener::from_std(fetch)?, server).await;
                Ok::<_, io::Error>(())
            })
        };
        std::thread::Builder::new().name("fetch".into()).spawn(move || {
            if let Err(error) = run() {
                say!("nothing is fetched: {error}");
                std::process::exit(1);
            }
        })?;
        let control: UnixListener = given.socket("control")?;
        notify_ready()?;
        let Err(error) =
            serve(&control, &given.callers, LIMITS, verbs(), OriginVerbs { origins, sockets });
        Err(error)
    })
}

/// Whether the clock was set since the start. Once it was, it stays so.
fn time_check(clock: PathBuf) -> Arc<dyn Fn() -> bool + Send + Sync> {
    let was_set = AtomicBool::new(false);
    Arc::new(move || {
        if !was_set.load(Ordering::Relaxed) && is_set(&clock) {
            was_set.store(true, Ordering::Relaxed);
        }
        was_set.load(Ordering::Relaxed)
    })
}

fn is_set(clock: &Path) -> bool {
    let shown = Client::connect(clock).and_then(|mut it| it.call("show", Map::new()));
    shown.is_ok_and(|shown| shown.get("by").is_some_and(|by| !by.is_null()))
}

fn verbs() -> Verbs<OriginVerbs> {
    Verbs::default()
        .with(
            Verb::new("show", Permission::Read, "Lists the origins for which this node fetches"),
            nothing(),
            |desk: &OriginVerbs, _: &mut Call<'_>, ()| Ok(show(&desk.origins.borrow())),
        )
        .with_settings(
            |desk| FetchOrigins::read(&desk.sockets, Which::Next).map(drop).map_err(failure),
            |desk| {
                let origins = FetchOrigins::read(&desk.sockets, Which::InForce).map_err(failure)?;
                desk.origins.send_replace(Arc::new(origins));
                Ok(())
            },
        )
}

fn show(origins: &FetchOrigins) -> Value {
    let line = |(name, origin): (&String, &Arc<crate::FetchOrigin>)| json!({ "name": name, "upstream": origin.upstream.to_string(), "max_bytes": origin.max_bytes });
    origins.by_name.iter().map(line).collect()
}

fn failure(error: FetchSettingsError) -> Failure {
    Failure::new(FailureCode::Failed, error.to_string(), error.help())
}
