//! The client's socket: UDP, from port 68, to and from one link alone (RFC 2131, 4.1).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::net::UdpSocket;

use super::message::Answer;

/// Where clients are.
const CLIENT: u16 = 68;

/// Where servers are.
const SERVER: u16 = 67;

/// More of a message is not read, in bytes: the largest that was asked for.
const LARGEST: usize = 1472;

/// The socket of a client on one link. As long as it is there the kernel answers nobody on its
/// port in the client's place.
#[derive(Debug)]
pub struct Socket(UdpSocket);

impl Socket {
    /// On the link of this name. It need not have an address.
    ///
    /// # Errors
    /// The link is gone, or the port is taken.
    pub fn open(link: &str) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        sockopt::set_socket_broadcast(&socket, true)?;
        let socket = UdpSocket::from_std(std::net::UdpSocket::from(socket))?;
        // Before it has a port: nothing of another link is to get in.
        socket.bind_device(Some(link.as_bytes()))?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT))?;
        Ok(Self(socket))
    }

    /// Sends `message` to whoever is there.
    ///
    /// # Errors
    /// The link is down or gone: it is as if nobody had answered.
    pub async fn send(&self, message: &[u8]) -> io::Result<()> {
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER);
        self.0.send_to(message, everybody).await.map(drop)
    }

    /// The next answer that is one; everything else is passed over.
    ///
    /// # Errors
    /// The link is gone.
    pub async fn receive(&self) -> io::Result<Answer> {
        let mut buffer = [0; LARGEST];
        loop {
            let (count, from) = self.0.recv_from(&mut buffer).await?;
            if from.port() == SERVER
                && let Ok(answer) = Answer::parse(&buffer[..count])
            {
                return Ok(answer);
            }
        }
    }
}
