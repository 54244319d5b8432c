//! The client's part of DHCP (RFC 2131, 4.4), without clock, socket or kernel: what to send, and what
//! address there is.
//!
//! It asks all servers, takes the first offer that makes sense, asks for it, and asks its server again when half of
//! its time is over, or earlier if the server wishes that; if that one does not answer, it asks all of them. Where
//! nobody answers it asks more and more seldom, but never stops.

use std::net::Ipv4Addr;
use std::time::Duration;

use octet_appliance::Mac;

use super::lease::{Lease, LeaseState};
use super::message::{Ask, Destination, ReplyType, ServerMessage};

/// The pauses after the first questions. They end with the longest, which then stays.
const RETRY_DELAYS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(60),
];

/// How often a server that has made an offer is asked for it.
const REQUESTS: usize = 4;

/// The shortest pause between attempts to renew (RFC 2131, 4.4.5).
const RENEWAL_DELAY: Duration = Duration::from_secs(60);

/// A client on one link.
#[derive(Debug)]
pub struct DhcpClient {
    mac: Mac,
    state: State,
    /// When something is to be done next.
    due: Duration,
    /// The address that it had last.
    wish: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nobody was asked, or somebody said no.
    Idle,
    Selecting {
        xid: u32,
        tries: usize,
    },
    /// One is asked for what it has offered.
    Requesting {
        xid: u32,
        tries: usize,
        offer: ServerMessage,
        asked: Duration,
    },
    Bound(Lease),
    /// There is one, and it is asked whether it may be kept.
    Renewing {
        xid: u32,
        lease: Lease,
        asked: Duration,
    },
}

/// What comes of something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientOutput {
    pub send: Option<(Vec<u8>, Destination)>,
    /// What is now known of the address, if that has changed.
    pub leased: Option<LeaseState>,
    pub say: Option<String>,
}

impl DhcpClient {
    /// A client that has not asked yet, but would like to have the address `wish`.
    pub fn new(mac: Mac, wish: Option<Ipv4Addr>, now: Duration) -> Self {
        Self { mac, state: State::Idle, due: now, wish }
    }

    /// When [`tick`](Self::tick) is to be called.
    pub fn due(&self) -> Option<Duration> {
        match &self.state {
            State::Bound(lease) if lease.until.is_none() => None,
            _ => Some(self.due),
        }
    }

    /// In one word, for people.
    pub fn state(&self) -> &'static str {
        match self.state {
            State::Idle | State::Selecting { .. } => "asking",
            State::Requesting { .. } => "requesting",
            State::Bound(_) => "bound",
            State::Renewing { .. } => "renewing",
        }
    }

    /// The lease that it has.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(lease) | State::Renewing { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// The time has come for something, or it may have. `random` is new for every call.
    pub fn tick(&mut self, now: Duration, random: u32) -> ClientOutput {
        if now < self.due {
            return ClientOutput::default();
        }
        match self.state.clone() {
            State::Idle => self.ask_all(now, random, 0),
            State::Selecting { xid, tries } => self.ask_all(now, xid, tries),
            State::Requesting { xid, tries, offer, asked } if tries < REQUESTS => {
                self.request(now, xid, tries, offer, asked)
            }
            State::Requesting { .. } => self.ask_all(now, random, 0),
            State::Bound(lease) => self.renew(now, random, lease),
            State::Renewing { xid, lease, asked: _ } => {
                if lease.until.is_some_and(|until| now >= until) {
                    let say = format!("the time of {} is over and nobody renews it", lease.address);
                    let asked = self.ask_all(now, random, 0);
                    return ClientOutput {
                        leased: Some(LeaseState::Nothing),
                        say: Some(say),
                        ..asked
                    };
                }
                self.renew(now, xid, lease)
            }
        }
    }

    /// The link is there again, maybe with somebody else at the other end: the address is asked for
    /// at once.
    pub fn link_is_back(&mut self, now: Duration) {
        if let State::Selecting { .. } | State::Requesting { .. } = self.state {
            self.state = State::Idle;
        }
        self.due = now;
    }

    /// The link is gone, and with it the network that the address was of: what is there when it is back
    /// may be another.
    pub fn link_is_gone(&mut self, now: Duration) -> ClientOutput {
        let had = self.lease().map(Lease::ip);
        (self.state, self.due) = (State::Idle, now);
        self.wish = had.or(self.wish);
        ClientOutput { leased: had.map(|_| LeaseState::Nothing), ..ClientOutput::default() }
    }

    /// A server has said something; what is not for this client or not now is passed over.
    pub fn received(&mut self, now: Duration, answer: ServerMessage) -> ClientOutput {
        if answer.mac != self.mac {
            return ClientOutput::default();
        }
        match (self.state.clone(), answer.kind) {
            (State::Selecting { xid, .. }, ReplyType::Offer) if xid == answer.xid => {
                // What makes no sense now would make none when it is confirmed.
                match Lease::new(&answer, now) {
                    Ok(_) => self.request(now, xid, 0, answer, now),
                    Err(reason) => told(format!("an offer is not taken: {reason}")),
                }
            }
            (State::Requesting { xid, offer, asked, .. }, kind) if xid == answer.xid => {
                if kind == ReplyType::Offer
                    || answer.server.is_some_and(|it| Some(it) != offer.server)
                {
                    return ClientOutput::default();
                }
                self.decided(now, &answer, asked, kind)
            }
            (State::Renewing { xid, asked, .. }, kind)
                if xid == answer.xid && kind != ReplyType::Offer =>
            {
                self.decided(now, &answer, asked, kind)
            }
            _ => ClientOutput::default(),
        }
    }

    /// A server has confirmed an address, or refused it.
    fn decided(
        &mut self,
        now: Duration,
        answer: &ServerMessage,
        asked: Duration,
        kind: ReplyType,
    ) -> ClientOutput {
        if kind == ReplyType::Nak {
            let had = self.lease().is_some();
            (self.state, self.wish, self.due) = (State::Idle, None, now + RETRY_DELAYS[0]);
            let say = Some("a DHCP server refuses the address; asking anew".to_owned());
            return ClientOutput { leased: had.then_some(LeaseState::Nothing), say, send: None };
        }
        match Lease::new(answer, asked) {
            Err(reason) => told(format!("a confirmation is not taken: {reason}")),
            Ok(lease) => {
                self.wish = Some(lease.ip());
                self.due = lease.renew_at.unwrap_or(Duration::MAX);
                let known = self.lease().is_some_and(|old| old.address == lease.address);
                let say = format!("{} from the DHCP server {}", lease.address, lease.server);
                self.state = State::Bound(lease.clone());
                ClientOutput {
                    send: None,
                    leased: Some(LeaseState::Lease(lease)),
                    say: (!known).then_some(say),
                }
            }
        }
    }

    fn ask_all(&mut self, now: Duration, xid: u32, tries: usize) -> ClientOutput {
        self.due = now + RETRY_DELAYS[tries.min(RETRY_DELAYS.len() - 1)];
        let silent = tries + 1 == RETRY_DELAYS.len();
        let say = silent.then(|| {
            let pause = RETRY_DELAYS[RETRY_DELAYS.len() - 1].as_secs();
            format!("no DHCP server answers; asking on every {pause} s")
        });
        self.state = State::Selecting { xid, tries: tries + 1 };
        ClientOutput {
            send: Some((Ask::Discover(self.wish).bytes(xid, self.mac), Destination::Everybody)),
            leased: None,
            say,
        }
    }

    fn request(
        &mut self,
        now: Duration,
        xid: u32,
        tries: usize,
        offer: ServerMessage,
        asked: Duration,
    ) -> ClientOutput {
        let Some(server) = offer.server else { return ClientOutput::default() };
        self.due = now + RETRY_DELAYS[tries.min(RETRY_DELAYS.len() - 1)];
        let ask = Ask::Request { address: offer.address, server };
        self.state = State::Requesting { xid, tries: tries + 1, offer, asked };
        let send = Some((ask.bytes(xid, self.mac), Destination::Everybody));
        ClientOutput { send, ..ClientOutput::default() }
    }

    fn renew(&mut self, now: Duration, xid: u32, lease: Lease) -> ClientOutput {
        let rebinds = lease.rebind_at.is_some_and(|at| now >= at);
        let (to, next) = match rebinds {
            // Whoever has forgotten it may take nothing from its address any more.
            true => (Destination::Everybody, lease.until),
            false => (Destination::One(lease.server), lease.rebind_at),
        };
        let left = next.map_or(Duration::MAX, |next| next.saturating_sub(now));
        // Then it is everybody who is asked, or at the very end the address let go.
        let pause = (left / 2).max(RENEWAL_DELAY).min(left);
        self.due = now.saturating_add(pause);
        let ask = Ask::Renew(lease.ip());
        self.state = State::Renewing { xid, lease, asked: now };
        ClientOutput { send: Some((ask.bytes(xid, self.mac), to)), ..ClientOutput::default() }
    }
}

fn told(say: String) -> ClientOutput {
    ClientOutput { say: Some(say), ..ClientOutput::default() }
}

#[cfg(test)]
mod tests;
