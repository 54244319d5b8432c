//! Probes gateways and boards, and logs when one goes down or is up again.

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use octet_node::links::{LeadsTo, Links};
use octet_node::say;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::icmp::{Icmp, IcmpMessage};
use crate::probe::AddressProbe;

/// The maximum size of a message that is read, in bytes.
pub const LARGEST: usize = 256;

/// The probe and its IPv4 socket; the IPv6 socket is shared with router advertisements.
#[derive(Debug)]
pub struct ReachabilityMonitor {
    /// It is wrapped in a `UdpSocket` only because tokio has no type for ICMP; waiting is the same.
    socket: UdpSocket,
    probe: AddressProbe,
    start: Instant,
    uplink: Option<u32>,
}

impl ReachabilityMonitor {
    /// Uses the ICMP socket that PID 1 has opened.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::net::UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        let mut id = [0; 2];
        let _ = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
        let probe = AddressProbe::new(u16::from_ne_bytes(id));
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
            probe,
            start: Instant::now(),
            uplink: None,
        })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Handles a change of the links.
    pub fn apply(&mut self, links: &Links) {
        let mut peers = vec![];
        self.uplink = None;
        for link in &links.links {
            match &link.leads_to {
                // A board's link without carrier is not probed: no board is plugged in, or it is
                // off.
                LeadsTo::Board(_) if !link.carrier => {}
                LeadsTo::Out { gateways, .. } => {
                    self.uplink = Some(link.index);
                    peers.extend(gateways);
                }
                LeadsTo::Board(segment) => {
                    peers.extend(segment.board.map(|(address, _)| IpAddr::V4(address)));
                }
                LeadsTo::Lan(_) => {}
            }
        }
        self.probe.set_peers(&peers, self.now());
    }

    /// When the next action is due.
    pub fn due(&self) -> Option<Instant> {
        self.probe.due().map(|due| self.start + due)
    }

    pub async fn tick(&mut self, icmp: &Icmp) {
        let (questions, gone) = self.probe.tick(self.now());
        for peer in gone {
            say!("{peer} does not answer");
        }
        for (to, question) in questions {
            // A request that cannot be sent counts as not answered.
            let _ = match (to, self.uplink) {
                (IpAddr::V4(to), _) => {
                    self.socket.send_to(&question, SocketAddrV4::new(to, 0)).await.map(drop)
                }
                (IpAddr::V6(to), Some(link)) => icmp.send(&question, to, link).await,
                (IpAddr::V6(_), None) => Ok(()),
            };
        }
    }

    /// Receives an ICMP message and handles it.
    pub async fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; LARGEST];
        let (length, from) = self.socket.recv_from(&mut buffer).await?;
        // A raw IPv4 socket delivers the IP header, too; the header's length is in 32-bit words.
        let head = usize::from(buffer[0] & 15) * 4;
        self.handle(from.ip(), buffer[..length].get(head..).unwrap_or_default());
        Ok(())
    }

    /// Handles an ICMPv6 message.
    pub fn receive_icmpv6(&mut self, bytes: &[u8], packet: IcmpMessage) {
        if self.uplink == Some(packet.link) {
            self.handle(packet.from.into(), bytes);
        }
    }

    fn handle(&mut self, from: IpAddr, message: &[u8]) {
        if self.probe.receive(from, message) {
            say!("{from} answers");
        }
    }

    /// The state for display.
    pub fn show(&self) -> Value {
        let all = self.probe.peers();
        all.map(|(address, answers)| json!({ "address": address, "answers": answers })).collect()
    }
}
