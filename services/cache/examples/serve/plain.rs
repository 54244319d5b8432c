//! iroh-blobs alone: a file store at both ends, each in a process of its own, with the default
//! settings of its authors.

use std::fs;
use std::future::pending;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use iroh::endpoint::presets;
use iroh::protocol::Router;
use iroh::{Endpoint, EndpointAddr, RelayMode, TransportAddr};
use iroh_blobs::store::fs::FsStore;
use iroh_blobs::{ALPN, BlobsProtocol, Hash, HashAndFormat};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::node::LOOPBACK;
use super::{Failed, end_with_parent};

/// The arguments that make a process send an object, or receive it.
pub const GIVER: &str = "plain-giver";
pub const TAKER: &str = "plain-taker";

fn runtime() -> Result<Runtime, Failed> {
    Ok(Builder::new_multi_thread().enable_io().enable_time().build()?)
}

/// Opens an endpoint that uses no relay and no address lookup.
async fn endpoint() -> Result<Endpoint, Failed> {
    let builder = Endpoint::builder(presets::Minimal).relay_mode(RelayMode::Disabled);
    Ok(builder.clear_ip_transports().bind_addr(LOOPBACK)?.bind().await?)
}

async fn store(folder: &Path) -> Result<FsStore, Failed> {
    Ok(FsStore::load(folder).await.map_err(|error| error.to_string())?)
}

/// Serves the content of `file` from a store in `folder`, forever. Prints its address.
pub fn give(folder: &Path, file: &Path) -> Result<Value, Failed> {
    end_with_parent(Signal::KILL)?;
    runtime()?.block_on(async {
        let (store, endpoint) = (store(folder).await?, endpoint().await?);
        let _tag = store.blobs().add_path(file).temp_tag().await?;
        let addrs = endpoint.bound_sockets().into_iter().map(TransportAddr::Ip).collect();
        let address = EndpointAddr { id: endpoint.id(), addrs };
        let blobs = BlobsProtocol::new(&store, None);
        let _router = Router::builder(endpoint).accept(ALPN, blobs).spawn();
        println!("{}", json!(address));
        pending().await
    })
}

/// Downloads the object `hash` into a store in `folder`. Returns the duration in nanoseconds, the
/// connection included.
pub fn take(folder: &Path, from: &str, hash: &str) -> Result<Value, Failed> {
    end_with_parent(Signal::KILL)?;
    let (from, hash): (EndpointAddr, Hash) = (serde_json::from_str(from)?, hash.parse()?);
    runtime()?.block_on(async {
        let (store, endpoint) = (store(folder).await?, endpoint().await?);
        let began = Instant::now();
        let connection = endpoint.connect(from, ALPN).await?;
        store.remote().fetch(connection, HashAndFormat::raw(hash)).complete().await?;
        Ok(json!(began.elapsed().as_nanos() as u64))
    })
}

/// A process that serves an object.
pub struct Giver {
    child: Child,
    address: String,
}

impl Giver {
    /// Starts it, with its store in `folder`.
    pub fn start(folder: &Path, file: &Path) -> Result<Self, Failed> {
        fs::create_dir(folder)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(GIVER).arg(folder).arg(file).stdout(Stdio::piped());
        let mut giver = Self { child: command.spawn()?, address: String::new() };
        let said = giver.child.stdout.take().ok_or("nothing is heard of iroh-blobs")?;
        BufReader::new(said).read_line(&mut giver.address)?;
        Ok(giver)
    }

    /// Makes another process download the object `hash` into a store in `folder`.
    pub fn give_to(&self, folder: &Path, hash: &str) -> Result<Duration, Failed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(TAKER).arg(folder).args([self.address.trim(), hash]);
        let output = command.stderr(Stdio::inherit()).output()?;
        let took = serde_json::from_slice(&output.stdout);
        Ok(Duration::from_nanos(took.map_err(|_| "iroh-blobs has not taken the object")?))
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
