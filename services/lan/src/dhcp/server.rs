//! The DHCP server (RFC 2131, 4.3). Pure: it has no clock and no socket.
//!
//! A board's address belongs to its port, whatever the client sends: each board's segment has one
//! address, and `netd` ensures that only one device uses it. The owner's devices get addresses from
//! a pool.

use std::net::Ipv4Addr;
use std::time::Duration;

use octet_node::links::PlannedSegment;

use super::message::{ClientRequest, Destination, QuestionKind, ReplyType, ServerReply};
use super::pool::{Pool, host};

/// The lease time of a board, in seconds.
const BOARD_SECONDS: u32 = 600;

/// T1 and T2 of a board, in seconds. A router that has forgotten its clients (after a power
/// failure, or an unnoticed change of cables) accepts no other packets from a board, which is
/// offline for up to this time.
const BOARD_AGAIN: (u32, u32) = (60, 90);

/// The lease time of the owner's devices, in seconds.
const LAN_SECONDS: u32 = 3600;

/// The addresses of a segment.
#[derive(Debug)]
pub enum Gives<'a> {
    /// A single address, for any client.
    Board(&'a PlannedSegment),
    Lan(&'a PlannedSegment, &'a mut Pool),
}

/// The answer to `question`, received from `from`, and its destination; the box's names are in
/// `domain`.
pub fn answer(
    question: &ClientRequest,
    from: Ipv4Addr,
    gives: &mut Gives<'_>,
    domain: &str,
    now: Duration,
) -> Option<(ServerReply, Destination)> {
    let segment = match gives {
        Gives::Board(segment) | Gives::Lan(segment, _) => *segment,
    };
    let server = segment.router.0;
    // The request is for another server.
    if question.server.is_some_and(|meant| meant != server) {
        return None;
    }
    let (seconds, again) = match gives {
        Gives::Board(_) => (BOARD_SECONDS, Some(BOARD_AGAIN)),
        Gives::Lan(..) => (LAN_SECONDS, None),
    };
    let board = segment.board.map(|_| segment.number);
    let domain = domain.to_owned();
    let reply =
        |kind, address| ServerReply { kind, server, address, seconds, again, domain, board };
    // A client with an address can be reached by unicast.
    let to = question.has.map_or(Destination::Everybody, Destination::One);
    match question.kind {
        QuestionKind::Discover => {
            let address = gives.offer(question, now)?;
            Some((reply(ReplyType::Offer, Some(address)), Destination::Everybody))
        }
        QuestionKind::Request => {
            let wanted = question.has.or(question.wish)?;
            match gives.take(question, wanted, now) {
                true => Some((reply(ReplyType::Ack, Some(wanted)), to)),
                false => Some((reply(ReplyType::Nak, None), Destination::Everybody)),
            }
        }
        QuestionKind::Inform => {
            Some((reply(ReplyType::Ack, None), Destination::One(question.has?)))
        }
        QuestionKind::Release => {
            // A release must come from the released address: others can put any MAC and address
            // into a message.
            if let (Gives::Lan(segment, pool), true) = (gives, question.has == Some(from))
                && is_in(segment, from)
            {
                pool.release(question.mac, host(from));
            }
            None
        }
        QuestionKind::Decline => {
            if let (Gives::Lan(segment, pool), Some(address)) = (gives, question.wish)
                && is_in(segment, address)
            {
                pool.decline(question.mac, host(address), now);
            }
            None
        }
    }
}

impl Gives<'_> {
    fn offer(&mut self, question: &ClientRequest, now: Duration) -> Option<Ipv4Addr> {
        match self {
            Self::Board(segment) => segment.board.map(|(address, _)| address),
            Self::Lan(segment, pool) => {
                let wish = question.wish.filter(|wish| is_in(segment, *wish)).map(host);
                pool.offer(question.mac, wish, now).map(|host| with_host(segment, host))
            }
        }
    }

    fn take(&mut self, question: &ClientRequest, wanted: Ipv4Addr, now: Duration) -> bool {
        match self {
            Self::Board(segment) => segment.board.is_some_and(|(address, _)| address == wanted),
            Self::Lan(segment, pool) => {
                is_in(segment, wanted) && pool.take(question.mac, host(wanted), LAN_SECONDS, now)
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
