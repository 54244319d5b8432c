//! An address for some time.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use octet_appliance::Cidr;
use octet_node::links;

use super::message::{InvalidDhcpMessage, ServerMessage};

/// This many seconds mean for ever (RFC 2131, 3.3).
const FOR_EVER: u32 = u32::MAX;

/// An address that a server gives for less, in seconds, is not taken. It is renewed after half of its time, and `netd`
/// tells the kernel of an end that is more than 10 seconds later.
const MIN: u32 = 30;

/// A server that wants to be asked anew sooner is asked after half of the time.
const SOONEST: Duration = Duration::from_secs(30);

/// An address that a server has given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address, and the network that it is in.
    pub address: Cidr,
    /// Where packets to other networks go.
    pub gateway: Option<Ipv4Addr>,
    pub server: Ipv4Addr,
    /// Until when, after the start of this program; `None` for ever.
    pub until: Option<Duration>,
    /// When its server is to be asked for it anew.
    pub renew_at: Option<Duration>,
    pub rebind_at: Option<Duration>,
    /// Who answers questions about names.
    pub names: Vec<Ipv4Addr>,
    pub time: Vec<Ipv4Addr>,
    /// Which board of the box this is, says the server.
    pub board: Option<u8>,
}

/// What is known of the address that a server gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    Nothing,
    Lease(Lease),
}

impl Lease {
    /// What `answer` gives to who asked at `asked`.
    ///
    /// # Errors
    /// It says too little, or something that no box can use.
    pub fn new(answer: &ServerMessage, asked: Duration) -> Result<Self, InvalidDhcpMessage> {
        let mask = answer.mask.ok_or(InvalidDhcpMessage("it names no network mask"))?.to_bits();
        let prefix = mask.leading_ones();
        if mask.count_ones() != prefix || prefix == 0 {
            return Err(InvalidDhcpMessage("its network mask is none"));
        }
        let address = Cidr::new(IpAddr::V4(answer.address), prefix as u8)
            .map_err(|_| InvalidDhcpMessage("its address is none that a box can have"))?;
        let server = answer.server.ok_or(InvalidDhcpMessage("it does not say whose it is"))?;
        let seconds = answer.seconds.ok_or(InvalidDhcpMessage("it does not say for how long"))?;
        if seconds < MIN {
            return Err(InvalidDhcpMessage("it is for less than 30 seconds"));
        }
        let time = (seconds != FOR_EVER).then(|| Duration::from_secs(seconds.into()));
        let again = time.map(|time| again(answer.again, time));
        Ok(Self {
            address,
            // One that cannot be reached is as good as none.
            gateway: answer.router.filter(|router| address.has_router(*router)),
            server,
            until: time.map(|time| asked + time),
            renew_at: again.map(|(renew, _)| asked + renew),
            rebind_at: again.map(|(_, rebind)| asked + rebind),
            names: answer.names.clone(),
            time: answer.time.clone(),
            board: answer.board,
        })
    }

    /// Seconds that are left of it; `None` for ever.
    pub fn left(&self, now: Duration) -> Option<u32> {
        let left = self.until?.saturating_sub(now).as_secs();
        Some(u32::try_from(left).unwrap_or(FOR_EVER - 1).min(FOR_EVER - 1))
    }

    pub fn ip(&self) -> Ipv4Addr {
        match self.address.address() {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED, // `new` makes none
        }
    }

    /// As netd is told of it.
    pub fn reported(&self, now: Duration) -> links::LinkLease {
        links::LinkLease {
            address: self.address,
            gateway: self.gateway,
            server: self.server,
            seconds: self.left(now),
            board: self.board,
        }
    }
}

/// After how long the server is to be asked, and everybody, for an address that is given for `time`: as the server
/// says, if that can be, or when half and seven eighths of it are over (RFC 2131, 4.4.5).
fn again(said: (Option<u32>, Option<u32>), time: Duration) -> (Duration, Duration) {
    let of = |said: Option<u32>| said.map(|seconds| Duration::from_secs(seconds.into()));
    let rebind = of(said.1).filter(|it| *it > SOONEST && *it < time).unwrap_or(time * 7 / 8);
    let renew = of(said.0).filter(|it| *it >= SOONEST && *it < rebind);
    (renew.unwrap_or((time / 2).min(rebind)), rebind)
}
