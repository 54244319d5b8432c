//! Whether the way out and boards are there, and that their loss and return are told.

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

/// More of a message is not read, in bytes.
pub const LARGEST: usize = 256;

/// The probe with its socket for IPv4; that for IPv6 is also for router advertisements.
#[derive(Debug)]
pub struct Reaching {
    /// Only its name is UDP's: tokio has none for ICMP, and waits for any in the same way.
    socket: UdpSocket,
    probe: AddressProbe,
    began: Instant,
    link: Option<u32>,
}

impl Reaching {
    /// With the socket of ICMP that PID 1 has made.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::net::UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        let mut id = [0; 2];
        let _ = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
        let probe = AddressProbe::new(u16::from_ne_bytes(id));
        Ok(Self { socket: UdpSocket::from_std(socket)?, probe, began: Instant::now(), link: None })
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The links are `links` now.
    pub fn follow(&mut self, links: &Links) {
        let mut peers = vec![];
        self.link = None;
        for link in &links.links {
            match &link.leads_to {
                // Who is behind a link that is down does not answer; a board that is not there is none.
                LeadsTo::Board(_) if !link.carrier => {}
                LeadsTo::Out { gateways, .. } => {
                    self.link = Some(link.index);
                    peers.extend(gateways);
                }
                LeadsTo::Board(segment) => {
                    peers.extend(segment.board.map(|(address, _)| IpAddr::V4(address)));
                }
                LeadsTo::Lan(_) => {}
            }
        }
        self.probe.set(&peers, self.now());
    }

    /// When there is something to do.
    pub fn due(&self) -> Option<Instant> {
        self.probe.due().map(|due| self.began + due)
    }

    pub async fn tick(&mut self, icmp: &Icmp) {
        let (questions, gone) = self.probe.tick(self.now());
        for peer in gone {
            say!("{peer} does not answer");
        }
        for (to, question) in questions {
            // What cannot be sent is not answered either.
            let _ = match (to, self.link) {
                (IpAddr::V4(to), _) => {
                    self.socket.send_to(&question, SocketAddrV4::new(to, 0)).await.map(drop)
                }
                (IpAddr::V6(to), Some(link)) => icmp.send(&question, to, link).await,
                (IpAddr::V6(_), None) => Ok(()),
            };
        }
    }

    /// Waits for a message of ICMP, and takes it.
    pub async fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; LARGEST];
        let (length, from) = self.socket.recv_from(&mut buffer).await?;
        // A raw socket of IPv4 gives the header, too: its length is in words of 32 bits.
        let head = usize::from(buffer[0] & 15) * 4;
        self.answered(from.ip(), buffer[..length].get(head..).unwrap_or_default());
        Ok(())
    }

    /// A message of ICMPv6 has come.
    pub fn came(&mut self, bytes: &[u8], came: IcmpMessage) {
        if self.link == Some(came.link) {
            self.answered(came.from.into(), bytes);
        }
    }

    fn answered(&mut self, from: IpAddr, message: &[u8]) {
        if self.probe.received(from, message) {
            say!("{from} answers");
        }
    }

    /// How it stands, for people.
    pub fn show(&self) -> Value {
        let all = self.probe.all();
        all.map(|(address, answers)| json!({ "address": address, "answers": answers })).collect()
    }
}
