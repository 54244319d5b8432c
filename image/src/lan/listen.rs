//! Ports of the host for programs that are no devices themselves, as a browser of the desktop.
//!
//! Their sockets are made on the host and stay there: the namespaces are entered with them, and whatever comes by them is
//! dialled from inside.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::thread;

use miette::Diagnostic;

use super::forward::{ForwardProtocol, PortForward};
use super::udp::UdpForward;
use super::{LanError, relay, socks, sys};

/// What is asked for.
#[derive(Debug, Default, clap::Args)]
pub struct Ports {
    /// Serve a SOCKS5 proxy into the lan at this port of 127.0.0.1, for example for a browser; default port 1080
    ///
    /// Names are resolved by the box. Every user of this host can use the proxy. Port 0 selects a free port. Without
    /// a COMMAND the proxy runs until ctrl-C, or until the box ends.
    #[arg(
        long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1080",
        value_parser = parse_port
    )]
    listen: Option<u16>,
    /// Forward a port of 127.0.0.1 to one in the lan: [tcp:|udp:]PORT:HOST:PORT, for example
    /// 8081:board-1.octet.internal:8080; may be given several times
    ///
    /// HOST is a name that the box resolves, or an address; IPv6 addresses are in brackets. HTTP/1 requests are
    /// answered with 403 unless their Host is localhost, 127.0.0.1, [::1] or HOST, so that no web page reads the box
    /// under a name of its own (DNS rebinding).
    #[arg(long, value_name = "FORWARD")]
    forward: Vec<PortForward>,
}

fn parse_port(text: &str) -> Result<u16, String> {
    let wrong =
        |_| "not a port; a COMMAND stands behind two dashes: --listen -- COMMAND".to_owned();
    text.parse().map_err(wrong)
}

/// There is no such port.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot listen at port {port} of 127.0.0.1 ({protocol}): {why}")]
#[diagnostic(help("choose another one: `{option}`; 0 is any that is free"))]
struct PortError {
    port: u16,
    protocol: ForwardProtocol,
    why: io::Error,
    option: String,
}

/// A port of 127.0.0.1, and what it is for.
#[derive(Debug, Clone, Copy)]
enum Port<'a> {
    Socks(u16),
    Forward(&'a PortForward),
}

impl Ports {
    /// Whether none is asked for.
    pub fn is_empty(&self) -> bool {
        self.listen.is_none() && self.forward.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = Port<'_>> {
        self.listen.map(Port::Socks).into_iter().chain(self.forward.iter().map(Port::Forward))
    }

    /// On the host: the sockets of all of them.
    ///
    /// # Errors
    /// Somebody has such a port already.
    pub fn bind(&self) -> miette::Result<Vec<OwnedFd>> {
        self.all().map(|port| Ok(port.bind()?)).collect()
    }

    /// What the same is asked for with in the namespaces, which have the `sockets`.
    pub fn arguments(&self, sockets: &[RawFd]) -> Vec<String> {
        let listen = self.listen.map(|port| format!("--listen={port}"));
        let forward = self.forward.iter().map(|forward| format!("--forward={forward}"));
        let sockets = sockets.iter().map(|socket| format!("--socket={socket}"));
        listen.into_iter().chain(forward).chain(sockets).collect()
    }

    /// In the namespaces: the sockets that were made on the host.
    ///
    /// # Errors
    /// There are others, or none.
    pub fn inherit(&self, sockets: &[RawFd]) -> miette::Result<Vec<OwnedFd>> {
        let inherit = |socket: &RawFd| {
            let what = format!("take over socket {socket}");
            sys::inherited_socket(*socket).map_err(LanError::kernel(what))
        };
        Ok(sockets.iter().map(inherit).collect::<Result<_, _>>()?)
    }

    /// In the namespaces: serves all of them, for as long as the process lives, and tells how they are used. Names of the
    /// box's are in `domain`, if there are any.
    ///
    /// # Errors
    /// The host refuses.
    pub fn serve(&self, sockets: Vec<OwnedFd>, domain: Option<&str>) -> io::Result<()> {
        let limit = Arc::default();
        for (port, socket) in self.all().zip(sockets) {
            match port {
                Port::Socks(_) => {
                    let listener = TcpListener::from(socket);
                    let at = listener.local_addr()?;
                    relay::accept(listener, &limit, socks::serve);
                    eprintln!("{}", usage(at, domain));
                }
                Port::Forward(forward) => {
                    let forward = forward.clone();
                    let (protocol, destination) = (forward.protocol, forward.destination());
                    let at = match protocol {
                        ForwardProtocol::Tcp => {
                            let listener = TcpListener::from(socket);
                            let at = listener.local_addr()?;
                            relay::accept(listener, &limit, move |client| forward.serve(client));
                            at
                        }
                        ForwardProtocol::Udp => {
                            let listener = UdpSocket::from(socket);
                            let at = listener.local_addr()?;
                            thread::spawn(move || forward_datagrams(&listener, &forward));
                            at
                        }
                    };
                    eprintln!("{:10} {at} ({protocol}) leads to {destination}", "forward");
                }
            }
        }
        Ok(())
    }
}

impl Port<'_> {
    fn bind(self) -> Result<OwnedFd, PortError> {
        let (port, protocol) = match self {
            Self::Socks(port) => (port, ForwardProtocol::Tcp),
            Self::Forward(forward) => (forward.port, forward.protocol),
        };
        let address = (Ipv4Addr::LOCALHOST, port);
        let bound = match protocol {
            ForwardProtocol::Tcp => TcpListener::bind(address).map(OwnedFd::from),
            ForwardProtocol::Udp => UdpSocket::bind(address).map(OwnedFd::from),
        };
        bound.map_err(|why| {
            let option = match self {
                Self::Socks(_) => "--listen PORT".to_owned(),
                Self::Forward(forward) => {
                    format!("--forward {protocol}:PORT:{}", forward.destination())
                }
            };
            PortError { port, protocol, why, option }
        })
    }
}

fn forward_datagrams(listener: &UdpSocket, forward: &PortForward) {
    if let Err(error) = UdpForward::new(listener, &forward.host, forward.host_port).serve() {
        eprintln!("{:10} {forward} has ended: {error}", "forward");
    }
}

/// How the proxy is used.
fn usage(at: SocketAddr, domain: Option<&str>) -> String {
    let port = at.port();
    let host = domain.map_or("ADDRESS".to_owned(), |domain| format!("board-1.{domain}"));
    format!(
        "{:10} {at} is a SOCKS5 proxy for programs of this host:\n\
         \x20 curl -i --proxy socks5h://{at} http://{host}:8080/\n\
         \x20 chromium --user-data-dir=\"$(mktemp -d)\" --proxy-server=socks5://{at}\n\
         \x20 Firefox: Settings, Network Settings, Manual proxy: SOCKS Host 127.0.0.1, Port {port}, SOCKS v5, and\n\
         \x20          Proxy DNS when using SOCKS v5",
        "socks"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command, FromArgMatches};
    use std::os::fd::AsRawFd;

    fn parse(arguments: &[&str]) -> Result<Ports, String> {
        let command = Ports::augment_args(Command::new("lan"));
        let matches = command.try_get_matches_from([&["lan"], arguments].concat());
        let matches = matches.map_err(|error| error.to_string())?;
        Ports::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_asked_for_is_asked_for_the_same_inside() {
        assert!(parse(&[]).unwrap().is_empty());
        assert_eq!(parse(&["--listen"]).unwrap().listen, Some(1080));
        let udp = "udp:5353:[fd00::1]:53";
        let asked = ["--listen", "0", "--forward", "81:router:80", "--forward", udp];
        let ports = parse(&asked).unwrap();
        let inside = ports.arguments(&[]);
        assert_eq!(
            inside,
            ["--listen=0", "--forward=tcp:81:router:80", &format!("--forward={udp}")]
        );
        let inside: Vec<_> = inside.iter().map(String::as_str).collect();
        assert_eq!(parse(&inside).unwrap().forward, ports.forward);
        assert_eq!(ports.arguments(&[7])[3], "--socket=7");
        assert!(parse(&["--listen", "curl"]).unwrap_err().contains("--listen -- COMMAND"));
        assert!(parse(&["--forward", "81"]).unwrap_err().contains("board-1.octet.internal:8080"));
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let forward = |protocol| format!("{protocol}:{port}:10.20.1.2:80").parse().unwrap();
        let listen = Ports { listen: Some(port), forward: Vec::new() };
        let tcp = Ports { listen: None, forward: vec![forward("tcp")] };
        for (ports, option) in [(listen, "--listen PORT"), (tcp, "--forward tcp:PORT:10.20.1.2:80")]
        {
            let error = ports.bind().unwrap_err();
            assert!(error.to_string().contains(&port.to_string()), "{error}");
            assert!(error.help().unwrap().to_string().contains(option), "{error}");
        }
        // By UDP it is free, or another test has it for a moment.
        let udp = Ports { listen: Some(0), forward: vec!["udp:0:10.20.1.2:80".parse().unwrap()] };
        assert_eq!(udp.bind().unwrap().len(), 2);
    }

    #[test]
    fn a_socket_is_taken_over_once_and_only_if_it_was_meant() {
        let ports = Ports { listen: Some(0), forward: Vec::new() };
        let socket = ports.bind().unwrap().pop().unwrap();
        let number = socket.as_raw_fd();
        // It is this program's own.
        assert!(ports.inherit(&[number]).is_err());
        let address = rustix::net::getsockname(&socket).unwrap();
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
        std::mem::forget(socket);
        let inherited = ports.inherit(&[number]).unwrap().pop().unwrap();
        assert_eq!(rustix::net::getsockname(&inherited).unwrap(), address);
        // Commands do not have it.
        let flags = rustix::io::fcntl_getfd(&inherited).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert!(ports.inherit(&[number]).is_err());
        let file = std::fs::File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        let number = file.as_raw_fd();
        std::mem::forget(file);
        for none in [number, 0, -1, RawFd::MAX] {
            assert!(ports.inherit(&[none]).is_err(), "{none}");
        }
    }
}
