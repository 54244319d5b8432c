//! A DHCP server (RFC 2131) at interfaces: the behaviour of `dnsmasq` with the file `dhcp`, as far
//! as a box needs it. Each interface with a [`Pool`] has a thread, which runs until its
//! configuration changes.

mod message;
mod pool;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::socket::{setsockopt, sockopt::BindToDevice};
use octet_openwrt_double::uci::Package;
use rustix::net::{AddressFamily, Shutdown, SocketType, bind, ipproto, shutdown, socket, sockopt};

use self::message::Question;
use self::pool::Pool;

/// The ports of servers and of clients.
const SERVER: u16 = 67;
const CLIENT: u16 = 68;

/// The maximum size of a received message, in bytes.
const LARGEST: usize = 1500;

/// The server at an interface.
struct Server {
    socket: Arc<UdpSocket>,
    thread: JoinHandle<()>,
}

static SERVED: Mutex<BTreeMap<Pool, Server>> = Mutex::new(BTreeMap::new());

/// Applies the files `dhcp` and `network`. The servers of unchanged interfaces keep running.
pub fn run(dhcp: &Package, network: &Package) -> io::Result<()> {
    let sections = dhcp.sections.iter().filter(|it| it.kind == "dhcp");
    let wanted: BTreeSet<Pool> = sections.filter_map(|it| Pool::of(it, dhcp, network)).collect();
    let mut served = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let all = mem::take(&mut *served).into_iter();
    let (stay, gone): (_, BTreeMap<_, _>) = all.partition(|(pool, _)| wanted.contains(pool));
    *served = stay;
    gone.into_values().for_each(Server::end);
    for pool in wanted {
        if let Entry::Vacant(entry) = served.entry(pool) {
            let server = Server::start(entry.key().clone())?;
            entry.insert(server);
        }
    }
    Ok(())
}

impl Server {
    fn start(pool: Pool) -> io::Result<Self> {
        let socket = Arc::new(at(&pool.device)?);
        let own = Arc::clone(&socket);
        Ok(Self { socket, thread: thread::spawn(move || serve(&pool, &own)) })
    }

    fn end(self) {
        // The socket is not connected, so this is an error; it wakes the thread that reads from it
        // nevertheless.
        let _ = shutdown(&self.socket, Shutdown::Both);
        let _ = self.thread.join();
    }
}

/// A socket that is bound to this device.
fn at(device: &str) -> io::Result<UdpSocket> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::UDP))?;
    setsockopt(&socket, BindToDevice, &device.to_owned().into())?;
    sockopt::set_socket_broadcast(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, SERVER))?;
    Ok(socket.into())
}

/// Answers until the socket is shut down.
fn serve(pool: &Pool, socket: &UdpSocket) {
    let (mut buffer, mut given) = ([0; LARGEST], BTreeMap::new());
    while let Ok((length @ 1.., _)) = socket.recv_from(&mut buffer) {
        let Some(question) = Question::read(&buffer[..length]) else { continue };
        let Some(answer) = pool.answer(&question, &mut given) else { continue };
        let has = question.has();
        let to = if has.is_unspecified() { Ipv4Addr::BROADCAST } else { has };
        // A client that misses the answer retries.
        let _ = socket.send_to(&answer, (to, CLIENT));
    }
}
