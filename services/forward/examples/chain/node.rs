//! A node: a network of its own, and a thread that is in it.

use std::fs::File;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, unshare};
use octet_forward::kernel::ForwardKernel;
use rtnetlink::{Handle, LinkUnspec};
use tokio::runtime::{Builder, Runtime};

use crate::Failed;

/// What the thread is to do.
type Work = Box<dyn FnOnce(&Here) + Send>;

/// A node, as others see it.
pub struct Node {
    /// Its network (network_namespaces(7)).
    pub network: File,
    work: Sender<Work>,
}

/// What a thread has that is in a node's network.
pub struct Here {
    /// On which the connections to the kernel go on.
    pub runtime: Runtime,
    /// As a board's own network is made.
    pub route: Handle,
    pub kernel: ForwardKernel,
}

impl Node {
    /// One whose network is empty.
    pub fn new() -> Result<Self, Failed> {
        let (work, todo) = channel();
        let (made, is_made) = channel();
        thread::spawn(move || match Here::enter() {
            Ok((here, network)) => {
                let _ = made.send(Ok(network));
                here.work(&todo);
            }
            Err(error) => drop(made.send(Err(error))),
        });
        Ok(Self { network: is_made.recv()??, work })
    }

    /// Has `work` done there, and waits for what comes of it.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Here) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Failed> {
        let (done, is_done) = channel();
        let work = Box::new(move |here: &Here| drop(done.send(work(here))));
        self.work.send(work).map_err(|_| "a node has ended")?;
        is_done.recv()?
    }
}

impl Here {
    /// Has the calling thread leave its network for a new one. Threads and processes that it begins are there too.
    fn enter() -> Result<(Self, File), Failed> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let network = File::open("/proc/thread-self/ns/net")?;
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let (route, kernel) = runtime.block_on(connect())?;
        Ok((Self { runtime, route, kernel }, network))
    }

    fn work(&self, todo: &Receiver<Work>) {
        for work in todo {
            work(self);
        }
    }

    /// Gives a device an address, and switches it on.
    pub async fn up(&self, name: &str, address: Option<(IpAddr, u8)>) -> Result<(), Failed> {
        let mut found = self.route.link().get().match_name(name.to_owned()).execute();
        let device = found.try_next().await?.ok_or_else(|| format!("there is no {name}"))?;
        let index = device.header.index;
        if let Some((address, prefix)) = address {
            self.route.address().add(index, address, prefix).execute().await?;
        }
        let up = LinkUnspec::new_with_index(index).up().build();
        Ok(self.route.link().set(up).execute().await?)
    }
}

/// The connections to the kernel, for the calling thread's network.
async fn connect() -> Result<(Handle, ForwardKernel), Failed> {
    let (connection, route, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok((route, ForwardKernel::connect().await?))
}
