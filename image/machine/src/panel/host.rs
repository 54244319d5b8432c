//! A host with TCP on the wire of a guest: what a program of the test's says to one end of a socket
//! pair comes out of the wire as a connection, and back.

mod datagrams;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{EthernetAddress, IpCidr, IpListenEndpoint};

use self::datagrams::Datagrams;
use super::port::{Mac, Port};

/// How often the program's ends are looked at while nothing comes by wire.
const TICK: Duration = Duration::from_millis(2);

/// Bytes that are under way in each direction of a connection.
const WINDOW: usize = 64 << 10;

/// How long a connection may take to be made or refused; long, because the host may be busy.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The first port that connections come from.
const FIRST_PORT: u16 = 49_152;

/// A host. When the value goes, so do its connections.
#[derive(Debug)]
pub struct Host {
    orders: Sender<Order>,
}

enum Order {
    Connect {
        from: Option<Ipv4Addr>,
        to: SocketAddr,
        answer: Sender<io::Result<UnixStream>>,
    },
    /// That datagrams are handed on.
    ForwardUdp(Datagrams),
}

impl Host {
    /// At `port`, with an Ethernet address and IP addresses, each with the length of its prefix.
    pub fn start(port: Port, mac: Mac, addresses: &[(IpAddr, u8)]) -> Self {
        let (orders, receiver) = channel();
        let addresses: Vec<_> = addresses
            .iter()
            .map(|(address, prefix)| IpCidr::new((*address).into(), *prefix))
            .collect();
        thread::spawn(move || Stack::new(port, mac, &addresses).run(&receiver));
        Self { orders }
    }

    /// The same, with a router on its wire by which it reaches other networks of IPv4.
    pub fn start_behind(port: Port, mac: Mac, address: (Ipv4Addr, u8), router: Ipv4Addr) -> Self {
        let (orders, receiver) = channel();
        thread::spawn(move || {
            let own = IpCidr::new(IpAddr::V4(address.0).into(), address.1);
            let mut stack = Stack::new(port, mac, &[own]);
            stack.set_gateway(router);
            stack.run(&receiver);
        });
        Self { orders }
    }

    /// Connects to `to`; the socket is the connection.
    ///
    /// # Errors
    /// It is refused, or nobody answers within a minute.
    pub fn connect(&self, to: SocketAddr) -> io::Result<UnixStream> {
        connect(&self.orders, None, to)
    }

    /// Connects to `to` as a neighbour: from an address of the same network that nobody else has. From
    /// then on the host answers for all of them.
    pub fn connect_from(&self, from: Ipv4Addr, to: SocketAddr) -> io::Result<UnixStream> {
        connect(&self.orders, Some(from), to)
    }

    /// Has datagrams handed on of programs that know nothing of wires: what they send to this address of this computer's
    /// loopback is sent to `to`, and what comes back is theirs.
    pub fn forward_udp(&self, to: SocketAddr) -> io::Result<SocketAddr> {
        let datagrams = Datagrams::new(to)?;
        let address = datagrams.address()?;
        self.orders.send(Order::ForwardUdp(datagrams)).map_err(|_| host_stopped())?;
        Ok(address)
    }

    /// Listens on this computer's loopback for programs that know nothing of wires: who connects
    /// there is connected to `to`.
    pub fn forward_tcp(&self, to: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let orders = self.orders.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(wire) = connect(&orders, None, to) else { continue };
                let (Ok(client_too), Ok(wire_too)) = (client.try_clone(), wire.try_clone()) else {
                    continue;
                };
                thread::spawn(move || {
                    let _ = io::copy(&mut &client, &mut &wire);
                    let _ = wire.shutdown(std::net::Shutdown::Write);
                });
                thread::spawn(move || {
                    let _ = io::copy(&mut &wire_too, &mut &client_too);
                    let _ = client_too.shutdown(std::net::Shutdown::Write);
                });
            }
        });
        Ok(address)
    }
}

fn connect(
    orders: &Sender<Order>,
    from: Option<Ipv4Addr>,
    to: SocketAddr,
) -> io::Result<UnixStream> {
    let (answer, made) = channel();
    orders.send(Order::Connect { from, to, answer }).map_err(|_| host_stopped())?;
    made.recv().map_err(|_| host_stopped())?
}

fn host_stopped() -> io::Error {
    io::Error::other("the host on the wire is gone")
}

/// The stack, with all connections.
struct Stack {
    wire: WirePort,
    interface: Interface,
    sockets: SocketSet<'static>,
    connections: HashMap<SocketHandle, Connection>,
    datagrams: Vec<Datagrams>,
    began: Instant,
    next_port: u16,
}

struct Connection {
    /// Who waits for it to be made, and until when.
    waiting: Option<(Sender<io::Result<UnixStream>>, Instant)>,
    /// The stack's end of the program's socket.
    program: Option<UnixStream>,
    /// The program will say no more.
    write_closed: bool,
}

impl Stack {
    fn new(port: Port, mac: Mac, addresses: &[IpCidr]) -> Self {
        let mut wire = WirePort { port, received: None };
        let config = Config::new(EthernetAddress(mac.0).into());
        let mut interface = Interface::new(config, &mut wire, StackInstant::ZERO);
        interface.update_ip_addrs(|all| {
            for address in addresses {
                all.push(*address).expect("no more addresses than the stack takes");
            }
        });
        Self {
            wire,
            interface,
            sockets: SocketSet::new(vec![]),
            connections: HashMap::new(),
            datagrams: vec![],
            began: Instant::now(),
            next_port: FIRST_PORT,
        }
    }

    /// Runs until nobody can want anything any more.
    fn run(mut self, orders: &Receiver<Order>) {
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Connect { from, to, answer }) => {
                        self.start_connection(from, to, answer);
                    }
                    Ok(Order::ForwardUdp(datagrams)) => self.datagrams.push(datagrams),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) if self.connections.is_empty() => return,
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            let now = StackInstant::from_micros(
                i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX),
            );
            self.interface.poll(now, &mut self.wire, &mut self.sockets);
            let handles: Vec<_> = self.connections.keys().copied().collect();
            for handle in handles {
                self.poll_connection(handle);
            }
            for datagrams in &mut self.datagrams {
                let next = &mut self.next_port;
                datagrams.poll(&mut self.sockets, || take_port(next));
            }
            if self.wire.received.is_none() {
                self.wire.received = self.wire.port.receive(Instant::now() + TICK);
            }
        }
    }

    fn start_connection(
        &mut self,
        from: Option<Ipv4Addr>,
        to: SocketAddr,
        answer: Sender<io::Result<UnixStream>>,
    ) {
        let buffer = || tcp::SocketBuffer::new(vec![0; WINDOW]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        let port = take_port(&mut self.next_port);
        let end = (smoltcp::wire::IpAddress::from(to.ip()), to.port());
        if from.is_some() {
            self.answer_for_neighbours();
        }
        let from = IpListenEndpoint { addr: from.map(Into::into), port };
        if let Err(error) = socket.connect(self.interface.context(), end, from) {
            let _ = answer.send(Err(io::Error::other(format!("{to}: {error:?}"))));
            return;
        }
        let handle = self.sockets.add(socket);
        let waiting = Some((answer, Instant::now() + TIMEOUT));
        let connection = Connection { waiting, program: None, write_closed: false };
        self.connections.insert(handle, connection);
    }

    /// Takes what comes for any address. The stack asks of such an address that a route leads there.
    fn answer_for_neighbours(&mut self) {
        self.interface.set_any_ip(true);
        if let Some(own) = self.interface.ipv4_addr() {
            self.set_gateway(own);
        }
    }

    /// Other networks are reached by `router`.
    fn set_gateway(&mut self, router: Ipv4Addr) {
        let routes = self.interface.routes_mut();
        routes.add_default_ipv4_route(router).expect("the stack has room for a route");
    }

    /// Moves bytes of one connection in both directions, and ends it when it is over.
    fn poll_connection(&mut self, handle: SocketHandle) {
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        let Some(connection) = self.connections.get_mut(&handle) else { return };
        if let Some((answer, deadline)) = connection.waiting.take() {
            if socket.may_send() {
                match UnixStream::pair() {
                    Ok((ours, theirs)) => {
                        connection.program = ours.set_nonblocking(true).is_ok().then_some(ours);
                        let _ = answer.send(Ok(theirs));
                    }
                    Err(error) => drop(answer.send(Err(error))),
                }
            } else if !socket.is_open() {
                let _ = answer.send(Err(io::ErrorKind::ConnectionRefused.into()));
            } else if Instant::now() >= deadline {
                let _ = answer.send(Err(io::ErrorKind::TimedOut.into()));
                socket.abort();
            } else {
                connection.waiting = Some((answer, deadline));
                return;
            }
        }
        let over = connection.program.as_mut().is_none_or(|program| {
            let mut broken = false;
            let mut idle = false;
            while socket.can_recv() && !broken && !idle {
                let taken = socket.recv(|bytes| match program.write(bytes) {
                    Ok(count) => (count, Ok(count)),
                    Err(error) => (0, Err(error)),
                });
                match taken {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => idle = true,
                    _ => broken = true,
                }
            }
            if !socket.may_recv() && !socket.can_recv() && socket.is_open() {
                let _ = program.shutdown(std::net::Shutdown::Write);
            }
            idle = false;
            while socket.can_send() && !connection.write_closed && !broken && !idle {
                let given = socket.send(|room| match program.read(room) {
                    Ok(count) => (count, Ok(count)),
                    Err(error) => (0, Err(error)),
                });
                match given {
                    Ok(Ok(0)) => {
                        connection.write_closed = true;
                        socket.close();
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => idle = true,
                    _ => broken = true,
                }
            }
            if broken {
                socket.abort();
            }
            broken || !socket.is_open()
        });
        if over {
            // A reset that is still to be said is said by the stack's next turn; then it is forgotten.
            if socket.is_open() {
                socket.abort();
            }
            connection.program = None;
            if socket.state() == tcp::State::Closed {
                self.sockets.remove(handle);
                self.connections.remove(&handle);
            }
        }
    }
}

/// The next port that connections come from.
fn take_port(next: &mut u16) -> u16 {
    let port = *next;
    *next = port.checked_add(1).unwrap_or(FIRST_PORT);
    port
}

/// The port as the stack's device.
struct WirePort {
    port: Port,
    /// A frame that has come.
    received: Option<Vec<u8>>,
}

struct RxFrame(Vec<u8>);

struct TxFrame<'a>(&'a Port);

impl RxToken for RxFrame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for TxFrame<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        // A guest that is gone takes nothing; what is sent to it is lost, as on a wire.
        let _ = self.0.send(&frame);
        result
    }
}

impl Device for WirePort {
    type RxToken<'a> = RxFrame;
    type TxToken<'a> = TxFrame<'a>;

    fn receive(&mut self, _: StackInstant) -> Option<(RxFrame, TxFrame<'_>)> {
        let frame = self.received.take().or_else(|| self.port.receive(Instant::now()))?;
        Some((RxFrame(frame), TxFrame(&self.port)))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<TxFrame<'_>> {
        Some(TxFrame(&self.port))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}
