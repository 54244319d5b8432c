//! The upstreams: their order, and the tries for one question.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::exchange::QueryForm;
use super::inside::BoxNetworks;

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
    form: QueryForm,
}

/// Which addresses are refused as upstreams.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamRule<'a> {
    /// The box's networks, and this node.
    pub box_networks: &'a BoxNetworks,
    /// Whether upstreams must be nodes of the box, which receive its names (true on a board, whose
    /// upstream is the router); otherwise they must not be.
    pub allow_inside: bool,
    /// Whether another program of this node can be an upstream.
    pub allow_loopback: bool,
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
        let of_the_node = ip.is_loopback() || self.box_networks.own_addresses.contains(&ip);
        if of_the_node && !(self.allow_loopback && address.port() != self.port) {
            return Err(RefusedUpstream::Itself(address));
        }
        if of_the_node {
            return Ok(());
        }
        // A board's link has no other device than the router.
        let on_link = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        match (self.allow_inside, self.box_networks.is_client(ip)) {
            (false, true) => Err(RefusedUpstream::Inside(address)),
            (true, false) if !on_link => Err(RefusedUpstream::Outside(address)),
            _ => Ok(()),
        }
    }
}

impl Upstreams {
    /// Sets the upstreams to those of `wanted` that `rule` permits, without duplicates, and returns
    /// the refused ones. State of upstreams that stay is kept.
    pub fn set(
        &mut self,
        configured: &[SocketAddr],
        rule: UpstreamRule<'_>,
    ) -> Vec<RefusedUpstream> {
        let mut old = std::mem::take(&mut self.list);
        let mut refused = vec![];
        for address in configured {
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
                        form: QueryForm::default(),
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
    pub fn attempts(&self, now: Duration) -> Attempts {
        let mut order: Vec<&Upstream> = self.list.iter().collect();
        order.sort_by_key(|it| now < it.last_until);
        let order: Vec<(SocketAddr, QueryForm)> =
            order.into_iter().map(|it| (it.address, it.form)).collect();
        let next = order.first().map(|(server, form)| Attempt {
            server: *server,
            form: *form,
            tcp: false,
        });
        Attempts { order, turn: 0, left: TRIES, next }
    }

    /// Records that `server` has failed at `now`.
    pub fn record_failure(&mut self, now: Duration, server: SocketAddr) {
        if let Some(upstream) = self.list.iter_mut().find(|it| it.address == server) {
            upstream.last_until = now + LAST_FOR;
        }
    }

    /// Records that `server` has answered a query of `form`.
    pub fn record_success(&mut self, server: SocketAddr, form: QueryForm) {
        if let Some(upstream) = self.list.iter_mut().find(|it| it.address == server) {
            (upstream.last_until, upstream.form) = (Duration::ZERO, form);
        }
    }
}

/// The remaining tries for one question.
#[derive(Debug)]
pub struct Attempts {
    order: Vec<(SocketAddr, QueryForm)>,
    turn: usize,
    left: usize,
    next: Option<Attempt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub server: SocketAddr,
    pub form: QueryForm,
    pub tcp: bool,
}

/// Why a try has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptError {
    /// The answer is too long for a datagram.
    Truncated,
    /// The server seems to change the case of letters.
    OtherCase,
    /// The server seems not to support EDNS.
    NoEdns,
    /// There is no answer, or an unusable one.
    Failed,
}

impl Attempts {
    pub fn begin(&mut self) -> Option<Attempt> {
        let next = self.next.take()?;
        self.left = self.left.checked_sub(1)?;
        Some(next)
    }

    /// Selects the next try: the same server with another form or by TCP, or the next server.
    /// Returns whether the server has failed.
    pub fn after(&mut self, tried: Attempt, setback: AttemptError) -> bool {
        let Attempt { form, tcp, .. } = tried;
        let otherwise = match setback {
            AttemptError::Truncated if !tcp => Some(Attempt { tcp: true, ..tried }),
            AttemptError::OtherCase if form.mixed_case => {
                Some(Attempt { form: QueryForm { mixed_case: false, ..form }, ..tried })
            }
            AttemptError::NoEdns if form.edns => {
                Some(Attempt { form: QueryForm { edns: false, ..form }, ..tried })
            }
            _ => None,
        };
        self.next = otherwise.or_else(|| {
            self.turn += 1;
            let (server, form) = *self.order.get(self.turn % self.order.len().max(1))?;
            Some(Attempt { server, form, tcp: false })
        });
        otherwise.is_none()
    }
}

#[cfg(test)]
mod tests;
