//! The DHCP server (RFC 2131, 4.3). Pure: it has no clock and no socket.
//!
//! A board's address belongs to its port, whatever the client sends: each board's segment has one
//! address, and `netd` ensures that only one device uses it. The owner's devices get addresses from
//! a pool.

use std::net::Ipv4Addr;
use std::time::Duration;

use octet_node::links::PlannedSegment;

use super::message::{ClientRequest, Destination, ReplyType, RequestType, ServerReply};
use super::pool::{Pool, host};

/// The lease time of a board, in seconds.
const BOARD_SECONDS: u32 = 600;

/// T1 and T2 of a board, in seconds. A router that has forgotten its clients (after a power
/// failure, or an unnoticed change of cables) accepts no other packets from a board, which is
/// offline for up to this time.
const BOARD_RENEWAL_TIMES: (u32, u32) = (60, 90);

/// The lease time of the owner's devices, in seconds.
const LAN_SECONDS: u32 = 3600;

/// The addresses of a segment.
#[derive(Debug)]
pub enum AddressSource<'a> {
    /// A single address, for any client.
    Board(&'a PlannedSegment),
    Lan(&'a PlannedSegment, &'a mut Pool),
}

/// The answer to `request`, received from `from`, and its destination; the box's names are in
/// `domain`.
pub fn answer(
    request: &ClientRequest,
    from: Ipv4Addr,
    source: &mut AddressSource<'_>,
    domain: &str,
    now: Duration,
) -> Option<(ServerReply, Destination)> {
    let segment = match source {
        AddressSource::Board(segment) | AddressSource::Lan(segment, _) => *segment,
    };
    let server = segment.router.0;
    // The request is for another server.
    if request.server.is_some_and(|meant| meant != server) {
        return None;
    }
    let (seconds, again) = match source {
        AddressSource::Board(_) => (BOARD_SECONDS, Some(BOARD_RENEWAL_TIMES)),
        AddressSource::Lan(..) => (LAN_SECONDS, None),
    };
    let board = segment.board.map(|_| segment.number);
    let domain = domain.to_owned();
    let reply = |kind, address| ServerReply {
        kind,
        server,
        address,
        lease_seconds: seconds,
        renewal_times: again,
        domain,
        board,
    };
    // A client with an address can be reached by unicast.
    let to = request.ciaddr.map_or(Destination::Broadcast, Destination::Unicast);
    match request.kind {
        RequestType::Discover => {
            let address = source.offer(request, now)?;
            Some((reply(ReplyType::Offer, Some(address)), Destination::Broadcast))
        }
        RequestType::Request => {
            let requested = request.ciaddr.or(request.requested_address)?;
            match source.lease(request, requested, now) {
                true => Some((reply(ReplyType::Ack, Some(requested)), to)),
                false => Some((reply(ReplyType::Nak, None), Destination::Broadcast)),
            }
        }
        RequestType::Inform => {
            Some((reply(ReplyType::Ack, None), Destination::Unicast(request.ciaddr?)))
        }
        RequestType::Release => {
            // A release must come from the released address: others can put any MAC and address
            // into a message.
            if let (AddressSource::Lan(segment, pool), true) =
                (source, request.ciaddr == Some(from))
                && is_in(segment, from)
            {
                pool.release(request.mac, host(from));
            }
            None
        }
        RequestType::Decline => {
            if let (AddressSource::Lan(segment, pool), Some(address)) =
                (source, request.requested_address)
                && is_in(segment, address)
            {
                pool.decline(request.mac, host(address), now);
            }
            None
        }
    }
}

impl AddressSource<'_> {
    fn offer(&mut self, question: &ClientRequest, now: Duration) -> Option<Ipv4Addr> {
        match self {
            Self::Board(segment) => segment.board.map(|(address, _)| address),
            Self::Lan(segment, pool) => {
                let wish =
                    question.requested_address.filter(|wish| is_in(segment, *wish)).map(host);
                pool.offer(question.mac, wish, now).map(|host| with_host(segment, host))
            }
        }
    }

    fn lease(&mut self, question: &ClientRequest, requested: Ipv4Addr, now: Duration) -> bool {
        match self {
            Self::Board(segment) => segment.board.is_some_and(|(address, _)| address == requested),
            Self::Lan(segment, pool) => {
                is_in(segment, requested)
                    && pool.lease(question.mac, host(requested), LAN_SECONDS, now)
            }
        }
    }
}

fn is_in(segment: &PlannedSegment, address: Ipv4Addr) -> bool {
    address.octets()[..3] == segment.router.0.octets()[..3]
}

fn with_host(segment: &PlannedSegment, host: u8) -> Ipv4Addr {
    let [a, b, c, _] = segment.router.0.octets();
    Ipv4Addr::new(a, b, c, host)
}

#[cfg(test)]
mod tests;
