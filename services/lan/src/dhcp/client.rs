//! The DHCP client (RFC 2131, 4.4). Pure: it has no clock, socket or kernel access; it returns
//! messages to send, and the current lease.
//!
//! It broadcasts a discover, requests the first valid offer, and renews after half of the lease
//! time, or earlier if the server sets T1; without an answer it rebinds by broadcast. Without any
//! server it retries at increasing intervals, forever.

use std::net::Ipv4Addr;
use std::time::Duration;

use octet_appliance::Mac;

use super::lease::{Lease, LeaseState};
use super::message::{ClientMessageType, Destination, ReplyType, ServerMessage};

/// The intervals of discovers. The last one repeats.
const RETRY_DELAYS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(60),
];

/// The number of requests for an offer.
const REQUESTS: usize = 4;

/// The minimum interval of renewals (RFC 2131, 4.4.5).
const RENEWAL_DELAY: Duration = Duration::from_secs(60);

/// A client on one link.
#[derive(Debug)]
pub struct DhcpClient {
    mac: Mac,
    state: State,
    /// When the next action is due.
    due: Duration,
    /// The last address, requested again.
    requested_address: Option<Ipv4Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Before a discover, or after a refusal.
    Idle,
    Selecting {
        xid: u32,
        tries: usize,
    },
    /// An offer is requested.
    Requesting {
        xid: u32,
        tries: usize,
        offer: ServerMessage,
        requested_at: Duration,
    },
    Bound(Lease),
    /// A lease is being renewed.
    Renewing {
        xid: u32,
        lease: Lease,
        requested_at: Duration,
    },
}

/// The result of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientOutput {
    pub send: Option<(Vec<u8>, Destination)>,
    /// The lease, if it has changed.
    pub lease_change: Option<LeaseState>,
    pub log: Option<String>,
}

impl DhcpClient {
    /// A new client, which requests the `requested_address`.
    pub fn new(mac: Mac, requested_address: Option<Ipv4Addr>, now: Duration) -> Self {
        Self { mac, state: State::Idle, due: now, requested_address }
    }

    /// When [`tick`](Self::tick) must be called.
    pub fn due(&self) -> Option<Duration> {
        match &self.state {
            State::Bound(lease) if lease.expires.is_none() => None,
            _ => Some(self.due),
        }
    }

    /// The state in one word, for display.
    pub fn state(&self) -> &'static str {
        match self.state {
            State::Idle | State::Selecting { .. } => "asking",
            State::Requesting { .. } => "requesting",
            State::Bound(_) => "bound",
            State::Renewing { .. } => "renewing",
        }
    }

    /// The current lease.
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound(lease) | State::Renewing { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// Handles a timer, which may be early. `random` differs for each call.
    pub fn tick(&mut self, now: Duration, random: u32) -> ClientOutput {
        if now < self.due {
            return ClientOutput::default();
        }
        match self.state.clone() {
            State::Idle => self.discover(now, random, 0),
            State::Selecting { xid, tries } => self.discover(now, xid, tries),
            State::Requesting { xid, tries, offer, requested_at } if tries < REQUESTS => {
                self.request(now, xid, tries, offer, requested_at)
            }
            State::Requesting { .. } => self.discover(now, random, 0),
            State::Bound(lease) => self.renew(now, random, lease),
            State::Renewing { xid, lease, requested_at: _ } => {
                if lease.expires.is_some_and(|until| now >= until) {
                    let log = format!("the time of {} is over and nobody renews it", lease.address);
                    let output = self.discover(now, random, 0);
                    return ClientOutput {
                        lease_change: Some(LeaseState::Unbound),
                        log: Some(log),
                        ..output
                    };
                }
                self.renew(now, xid, lease)
            }
        }
    }

    /// Handles the return of the carrier, maybe with another network: the address is requested at
    /// once.
    pub fn link_up(&mut self, now: Duration) {
        if let State::Selecting { .. } | State::Requesting { .. } = self.state {
            self.state = State::Idle;
        }
        self.due = now;
    }

    /// Handles the loss of the carrier: the lease ends, because the next network may differ.
    pub fn link_down(&mut self, now: Duration) -> ClientOutput {
        let had = self.lease().map(Lease::ip);
        (self.state, self.due) = (State::Idle, now);
        self.requested_address = had.or(self.requested_address);
        ClientOutput { lease_change: had.map(|_| LeaseState::Unbound), ..ClientOutput::default() }
    }

    /// Handles a server's message; unexpected messages are ignored.
    pub fn receive(&mut self, now: Duration, answer: ServerMessage) -> ClientOutput {
        if answer.mac != self.mac {
            return ClientOutput::default();
        }
        match (self.state.clone(), answer.kind) {
            (State::Selecting { xid, .. }, ReplyType::Offer) if xid == answer.xid => {
                // An invalid offer would be invalid as an acknowledgement, too.
                match Lease::new(&answer, now) {
                    Ok(_) => self.request(now, xid, 0, answer, now),
                    Err(reason) => log_only(format!("an offer is not taken: {reason}")),
                }
            }
            (State::Requesting { xid, offer, requested_at, .. }, kind) if xid == answer.xid => {
                if kind == ReplyType::Offer
                    || answer.server.is_some_and(|it| Some(it) != offer.server)
                {
                    return ClientOutput::default();
                }
                self.handle_reply(now, &answer, requested_at, kind)
            }
            (State::Renewing { xid, requested_at, .. }, kind)
                if xid == answer.xid && kind != ReplyType::Offer =>
            {
                self.handle_reply(now, &answer, requested_at, kind)
            }
            _ => ClientOutput::default(),
        }
    }

    /// Handles an acknowledgement or a refusal.
    fn handle_reply(
        &mut self,
        now: Duration,
        answer: &ServerMessage,
        requested_at: Duration,
        kind: ReplyType,
    ) -> ClientOutput {
        if kind == ReplyType::Nak {
            let had = self.lease().is_some();
            (self.state, self.requested_address, self.due) =
                (State::Idle, None, now + RETRY_DELAYS[0]);
            let log = Some("a DHCP server refuses the address; asking anew".to_owned());
            return ClientOutput {
                lease_change: had.then_some(LeaseState::Unbound),
                log,
                send: None,
            };
        }
        match Lease::new(answer, requested_at) {
            Err(reason) => log_only(format!("a confirmation is not taken: {reason}")),
            Ok(lease) => {
                self.requested_address = Some(lease.ip());
                self.due = lease.renew_at.unwrap_or(Duration::MAX);
                let known = self.lease().is_some_and(|old| old.address == lease.address);
                let log = format!("{} from the DHCP server {}", lease.address, lease.server);
                self.state = State::Bound(lease.clone());
                ClientOutput {
                    send: None,
                    lease_change: Some(LeaseState::Bound(lease)),
                    log: (!known).then_some(log),
                }
            }
        }
    }

    fn discover(&mut self, now: Duration, xid: u32, tries: usize) -> ClientOutput {
        self.due = now + RETRY_DELAYS[tries.min(RETRY_DELAYS.len() - 1)];
        let silent = tries + 1 == RETRY_DELAYS.len();
        let log = silent.then(|| {
            let pause = RETRY_DELAYS[RETRY_DELAYS.len() - 1].as_secs();
            format!("no DHCP server answers; asking on every {pause} s")
        });
        self.state = State::Selecting { xid, tries: tries + 1 };
        ClientOutput {
            send: Some((
                ClientMessageType::Discover(self.requested_address).bytes(xid, self.mac),
                Destination::Broadcast,
            )),
            lease_change: None,
            log,
        }
    }

    fn request(
        &mut self,
        now: Duration,
        xid: u32,
        tries: usize,
        offer: ServerMessage,
        requested_at: Duration,
    ) -> ClientOutput {
        let Some(server) = offer.server else { return ClientOutput::default() };
        self.due = now + RETRY_DELAYS[tries.min(RETRY_DELAYS.len() - 1)];
        let ask = ClientMessageType::Request { address: offer.address, server };
        self.state = State::Requesting { xid, tries: tries + 1, offer, requested_at };
        let send = Some((ask.bytes(xid, self.mac), Destination::Broadcast));
        ClientOutput { send, ..ClientOutput::default() }
    }

    fn renew(&mut self, now: Duration, xid: u32, lease: Lease) -> ClientOutput {
        let rebinds = lease.rebind_at.is_some_and(|at| now >= at);
        let (to, next) = match rebinds {
            // A server that has forgotten the lease may drop packets from its address.
            true => (Destination::Broadcast, lease.expires),
            false => (Destination::Unicast(lease.server), lease.rebind_at),
        };
        let left = next.map_or(Duration::MAX, |next| next.saturating_sub(now));
        // After that the client rebinds, or finally gives up the lease.
        let pause = (left / 2).max(RENEWAL_DELAY).min(left);
        self.due = now.saturating_add(pause);
        let ask = ClientMessageType::Renew(lease.ip());
        self.state = State::Renewing { xid, lease, requested_at: now };
        ClientOutput { send: Some((ask.bytes(xid, self.mac), to)), ..ClientOutput::default() }
    }
}

fn log_only(log: String) -> ClientOutput {
    ClientOutput { log: Some(log), ..ClientOutput::default() }
}

#[cfg(test)]
mod tests;
