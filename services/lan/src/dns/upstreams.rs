//! The upstreams: their order, and the tries for one question.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::exchange::Form;
use super::inside::Inside;

/// The maximum number of upstreams.
pub const MAX_UPSTREAMS: usize = 8;

/// The maximum number of tries for one question, over all upstreams.
pub const TRIES: usize = 4;

/// How long a failed upstream is tried after all others.
pub const LAST_FOR: Duration = Duration::from_secs(30);

/// The upstreams in use.
#[derive(Debug, Default)]
pub struct Upstreams {
    list: Vec<Upstream>,
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    last_until: Duration,
    /// The form of queries that it is known to support.
    form: Form,
}

/// Which addresses are refused as upstreams.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamRule<'a> {
    /// The box's networks, and this node.
    pub inside: &'a Inside,
    /// Whether upstreams must be nodes of the box, which receive its names (true on a board, whose
    /// upstream is the router); otherwise they must not be.
    pub in_the_box: bool,
    /// Whether another program of this node can be an upstream.
    pub on_loopback: bool,
    /// The port of this resolver.
    pub port: u16,
}

/// Why an address is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedUpstream {
    /// The address is this resolver.
    #[error("{0} is this node itself: name a server that is elsewhere")]
    Itself(SocketAddr),
    /// The upstream would ask this resolver again.
    #[error("{0} is in the box, which asks this node: name a server outside")]
    Inside(SocketAddr),
    /// The upstream would receive names of the box.
    #[error("{0} is not in the box, whose names it would be asked for: name the router")]
    Outside(SocketAddr),
    #[error("{0} is not an address of one server: name another")]
    NoServer(SocketAddr),
    #[error("{0} is left out: {MAX_UPSTREAMS} servers have room")]
    TooMany(SocketAddr),
}

impl UpstreamRule<'_> {
    /// Checks whether `address` can be an upstream.
    pub fn check(&self, address: SocketAddr) -> Result<(), RefusedUpstream> {
        let ip = address.ip().to_canonical();
        let group = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) || ip.is_multicast();
        if ip.is_unspecified() || group || address.port() == 0 {
            return Err(RefusedUpstream::NoServer(address));
        }
        let of_the_node = ip.is_loopback() || self.inside.node.contains(&ip);
        if of_the_node && !(self.on_loopback && address.port() != self.port) {
            return Err(RefusedUpstream::Itself(address));
        }
        if of_the_node {
            return Ok(());
        }
        // A board's link has no other device than the router.
        let on_link = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        match (self.in_the_box, self.inside.may_ask(ip)) {
            (false, true) => Err(RefusedUpstream::Inside(address)),
            (true, false) if !on_link => Err(RefusedUpstream::Outside(address)),
            _ => Ok(()),
        }
    }
}

impl Upstreams {
    /// Sets the upstreams to those of `wanted` that `rule` permits, without duplicates, and returns
    /// the refused ones. State of upstreams that stay is kept.
    pub fn set(&mut self, wanted: &[SocketAddr], rule: UpstreamRule<'_>) -> Vec<RefusedUpstream> {
        let mut old = std::mem::take(&mut self.list);
        let mut refused = vec![];
        for address in wanted {
            if self.list.iter().any(|it| it.address == *address) {
                continue;
            }
            if let Err(problem) = rule.check(*address) {
                refused.push(problem);
            } else if self.list.len() >= MAX_UPSTREAMS {
                refused.push(RefusedUpstream::TooMany(*address));
            } else {
                let known = old.iter().position(|it| it.address == *address);
                self.list.push(known.map_or_else(
                    || Upstream {
                        address: *address,
                        last_until: Duration::ZERO,
                        form: Form::default(),
                    },
                    |index| old.swap_remove(index),
                ));
            }
        }
        refused
    }

    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.list.iter().map(|it| it.address)
    }

    /// The order of tries for one question at `now`.
    pub fn tries(&self, now: Duration) -> Tries {
        let mut order: Vec<&Upstream> = self.list.iter().collect();
        order.sort_by_key(|it| now < it.last_until);
        let order: Vec<(SocketAddr, Form)> =
            order.into_iter().map(|it| (it.address, it.form)).collect();
        let next =
            order.first().map(|(server, form)| Try { server: *server, form: *form, tcp: false });
        Tries { order, turn: 0, left: TRIES, next }
    }

    /// Records that `server` has failed at `now`.
    pub fn failed(&mut self, now: Duration, server: SocketAddr) {
        if let Some(upstream) = self.list.iter_mut().find(|it| it.address == server) {
            upstream.last_until = now + LAST_FOR;
        }
    }

    /// Records that `server` has answered a query of `form`.
    pub fn answered(&mut self, server: SocketAddr, form: Form) {
        if let Some(upstream) = self.list.iter_mut().find(|it| it.address == server) {
            (upstream.last_until, upstream.form) = (Duration::ZERO, form);
        }
    }
}

/// The remaining tries for one question.
#[derive(Debug)]
pub struct Tries {
    order: Vec<(SocketAddr, Form)>,
    turn: usize,
    left: usize,
    next: Option<Try>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    pub server: SocketAddr,
    pub form: Form,
    pub tcp: bool,
}

/// Why a try has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// The answer is too long for a datagram.
    Truncated,
    /// The server seems to change the case of letters.
    OtherCase,
    /// The server seems not to support EDNS.
    NoEdns,
    /// There is no answer, or an unusable one.
    Failed,
}

impl Tries {
    pub fn begin(&mut self) -> Option<Try> {
        let next = self.next.take()?;
        self.left = self.left.checked_sub(1)?;
        Some(next)
    }

    /// Selects the next try: the same server with another form or by TCP, or the next server.
    /// Returns whether the server has failed.
    pub fn after(&mut self, tried: Try, setback: Setback) -> bool {
        let Try { form, tcp, .. } = tried;
        let otherwise = match setback {
            Setback::Truncated if !tcp => Some(Try { tcp: true, ..tried }),
            Setback::OtherCase if form.mixed_case => {
                Some(Try { form: Form { mixed_case: false, ..form }, ..tried })
            }
            Setback::NoEdns if form.edns => {
                Some(Try { form: Form { edns: false, ..form }, ..tried })
            }
            _ => None,
        };
        self.next = otherwise.or_else(|| {
            self.turn += 1;
            let (server, form) = *self.order.get(self.turn % self.order.len().max(1))?;
            Some(Try { server, form, tcp: false })
        });
        otherwise.is_none()
    }
}

#[cfg(test)]
mod tests;
