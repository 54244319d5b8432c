//! The netlink socket to the kernel's connection tracking.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

use super::message::{ALL, ConntrackMessage, GET, TrackedFlow, read};
use crate::nfnetlink::request;

/// Buffer size in bytes: more than the kernel puts in one datagram (`NLMSG_GOODSIZE` is 8 KiB at
/// most).
const DATAGRAM: usize = 64 << 10;

/// `ENOENT`: the flow has ended already.
const GONE: i32 = 2;

pub struct ConntrackSocket(OwnedFd);

impl ConntrackSocket {
    /// # Errors
    /// The kernel does not provide such a socket.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let family = AddressFamily::NETLINK;
        let socket = socket_with(family, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
        Ok(Self(socket))
    }

    pub fn list(&self) -> io::Result<Vec<TrackedFlow>> {
        self.send(&request(GET, ALL, 1, 0, &[]))?;
        let (mut flows, mut buffer) = (vec![], vec![0; DATAGRAM]);
        loop {
            for message in self.receive(&mut buffer)? {
                match message {
                    ConntrackMessage::Flow(flow) => flows.push(flow),
                    ConntrackMessage::Done => return Ok(flows),
                    ConntrackMessage::Answer(error) => {
                        return Err(io::Error::from_raw_os_error(error));
                    }
                    ConntrackMessage::Other => {}
                }
            }
        }
    }

    /// Ends a flow. Returns whether it still existed.
    pub fn delete(&self, flow: &TrackedFlow) -> io::Result<bool> {
        self.send(&flow.delete(2))?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            for message in self.receive(&mut buffer)? {
                match message {
                    ConntrackMessage::Answer(0) => return Ok(true),
                    ConntrackMessage::Answer(GONE) => return Ok(false),
                    ConntrackMessage::Answer(error) => {
                        return Err(io::Error::from_raw_os_error(error));
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        sendto(&self.0, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<Vec<ConntrackMessage>> {
        let (count, _) = recv(&self.0, &mut *buffer, RecvFlags::empty())?;
        read(&buffer[..count]).map_err(io::Error::other)
    }
}
