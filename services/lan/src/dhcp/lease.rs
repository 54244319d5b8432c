//! DHCP leases.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use octet_appliance::Cidr;
use octet_node::links;

use super::message::{InvalidDhcpMessage, ServerMessage};

/// The value for an infinite lease (RFC 2131, 3.3).
const FOR_EVER: u32 = u32::MAX;

/// The minimum lease time in seconds. A lease is renewed after half of its time, and `netd` applies
/// expiry with a tolerance of 10 seconds.
const MIN: u32 = 30;

/// The minimum T1; an earlier one is replaced by half of the lease time.
const MIN_RENEWAL: Duration = Duration::from_secs(30);

/// A lease from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address with its prefix length.
    pub address: Cidr,
    /// The default gateway.
    pub gateway: Option<Ipv4Addr>,
    pub server: Ipv4Addr,
    /// The expiry since the start of this program; `None` for never.
    pub expires: Option<Duration>,
    /// When it is renewed.
    pub renew_at: Option<Duration>,
    pub rebind_at: Option<Duration>,
    /// The DNS servers.
    pub dns_servers: Vec<Ipv4Addr>,
    pub ntp_servers: Vec<Ipv4Addr>,
    /// The board number that the server has assigned.
    pub board: Option<u8>,
}

/// The state of the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    Unbound,
    Bound(Lease),
}

impl Lease {
    /// The lease in `answer` to a request at `requested_at`.
    ///
    /// # Errors
    /// Required options are missing, or a value is unusable.
    pub fn new(answer: &ServerMessage, requested_at: Duration) -> Result<Self, InvalidDhcpMessage> {
        let mask = answer.mask.ok_or(InvalidDhcpMessage("it names no network mask"))?.to_bits();
        let prefix = mask.leading_ones();
        if mask.count_ones() != prefix || prefix == 0 {
            return Err(InvalidDhcpMessage("its network mask is none"));
        }
        let address = Cidr::new(IpAddr::V4(answer.address), prefix as u8)
            .map_err(|_| InvalidDhcpMessage("its address is none that a box can have"))?;
        let server = answer.server.ok_or(InvalidDhcpMessage("it does not say whose it is"))?;
        let seconds =
            answer.lease_seconds.ok_or(InvalidDhcpMessage("it does not say for how long"))?;
        if seconds < MIN {
            return Err(InvalidDhcpMessage("it is for less than 30 seconds"));
        }
        let time = (seconds != FOR_EVER).then(|| Duration::from_secs(seconds.into()));
        let again = time.map(|time| renewal_times(answer.renewal_times, time));
        Ok(Self {
            address,
            // A gateway outside of the network is ignored.
            gateway: answer.router.filter(|router| address.is_valid_gateway(*router)),
            server,
            expires: time.map(|time| requested_at + time),
            renew_at: again.map(|(renew, _)| requested_at + renew),
            rebind_at: again.map(|(_, rebind)| requested_at + rebind),
            dns_servers: answer.dns_servers.clone(),
            ntp_servers: answer.ntp_servers.clone(),
            board: answer.board,
        })
    }

    /// The remaining seconds; `None` for an infinite lease.
    pub fn remaining_seconds(&self, now: Duration) -> Option<u32> {
        let left = self.expires?.saturating_sub(now).as_secs();
        Some(u32::try_from(left).unwrap_or(FOR_EVER - 1).min(FOR_EVER - 1))
    }

    pub fn ip(&self) -> Ipv4Addr {
        match self.address.address() {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED, // `new` sets IPv4 only
        }
    }

    /// The lease in netd's format.
    pub fn to_link_lease(&self, now: Duration) -> links::LinkLease {
        links::LinkLease {
            address: self.address,
            gateway: self.gateway,
            server: self.server,
            seconds: self.remaining_seconds(now),
            board: self.board,
        }
    }
}

/// T1 and T2 of a lease of `time`: those of the server if they are valid, otherwise half and seven
/// eighths (RFC 2131, 4.4.5).
fn renewal_times(server_times: (Option<u32>, Option<u32>), time: Duration) -> (Duration, Duration) {
    let of = |said: Option<u32>| said.map(|seconds| Duration::from_secs(seconds.into()));
    let rebind =
        of(server_times.1).filter(|it| *it > MIN_RENEWAL && *it < time).unwrap_or(time * 7 / 8);
    let renew = of(server_times.0).filter(|it| *it >= MIN_RENEWAL && *it < rebind);
    (renew.unwrap_or((time / 2).min(rebind)), rebind)
}
