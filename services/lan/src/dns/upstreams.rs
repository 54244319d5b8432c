//! Whom to ask, in which order, and how often for one question.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::exchange::Form;
use super::inside::Inside;

/// Upstreams that are asked at most.
pub const MAX_UPSTREAMS: usize = 8;

/// How often upstreams are asked one question, all together.
pub const TRIES: usize = 4;

/// For how long an upstream that has failed is asked after all others.
pub const LAST_FOR: Duration = Duration::from_secs(30);

/// Those that may be asked.
#[derive(Debug, Default)]
pub struct Upstreams {
    list: Vec<Upstream>,
}

#[derive(Debug)]
struct Upstream {
    address: SocketAddr,
    last_until: Duration,
    /// How it takes questions, as far as is known.
    form: Form,
}

/// Which addresses are no upstreams.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamRule<'a> {
    /// The box and this node.
    pub inside: &'a Inside,
    /// Whether upstreams are nodes of the box (the router is its boards'), which are told names of the
    /// box; else they are none.
    pub in_the_box: bool,
    /// Whether another program of this node may be one.
    pub on_loopback: bool,
    /// The port at which this node itself answers.
    pub port: u16,
}

/// An address that is not an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedUpstream {
    /// Asking there would be asking oneself.
    #[error("{0} is this node itself: name a server that is elsewhere")]
    Itself(SocketAddr),
    /// Asking there would come back.
    #[error("{0} is in the box, which asks this node: name a server outside")]
    Inside(SocketAddr),
    /// It would be asked for names of the box.
    #[error("{0} is not in the box, whose names it would be asked for: name the router")]
    Outside(SocketAddr),
    #[error("{0} is not an address of one server: name another")]
    NoServer(SocketAddr),
    #[error("{0} is left out: {MAX_UPSTREAMS} servers have room")]
    TooMany(SocketAddr),
}

impl UpstreamRule<'_> {
    /// Sees that `address` may be asked.
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
        // Nobody but the router is on a board's link.
        let on_link = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        match (self.in_the_box, self.inside.may_ask(ip)) {
            (false, true) => Err(RefusedUpstream::Inside(address)),
            (true, false) if !on_link => Err(RefusedUpstream::Outside(address)),
            _ => Ok(()),
        }
    }
}

impl Upstreams {
    /// Those of `wanted` that `rule` lets be, each once; and what is wrong with the others. What is
    /// known about those that stay is kept.
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

    /// How one question goes round, at `now`.
    pub fn tries(&self, now: Duration) -> Tries {
        let mut order: Vec<&Upstream> = self.list.iter().collect();
        order.sort_by_key(|it| now < it.last_until);
        let order: Vec<(SocketAddr, Form)> =
            order.into_iter().map(|it| (it.address, it.form)).collect();
        let next =
            order.first().map(|(server, form)| Try { server: *server, form: *form, tcp: false });
        Tries { order, turn: 0, left: TRIES, next }
    }

    /// `server` has failed at `now`.
    pub fn failed(&mut self, now: Duration, server: SocketAddr) {
        if let Some(upstream) = self.list.iter_mut().find(|it| it.address == server) {
            upstream.last_until = now + LAST_FOR;
        }
    }

    /// `server` has answered a question that was put in `form`.
    pub fn answered(&mut self, server: SocketAddr, form: Form) {
        if let Some(upstream) = self.list.iter_mut().find(|it| it.address == server) {
            (upstream.last_until, upstream.form) = (Duration::ZERO, form);
        }
    }
}

/// What is left to try for one question.
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
    /// How the question is put.
    pub form: Form,
    pub tcp: bool,
}

/// What has come of a try that has not brought the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setback {
    /// The answer is longer than a datagram.
    Truncated,
    /// The server seems to change the case of letters.
    OtherCase,
    /// The server seems not to know EDNS.
    NoEdns,
    /// Nothing, or nothing that is of use.
    Failed,
}

impl Tries {
    /// Begins the next try, if there is one.
    pub fn begin(&mut self) -> Option<Try> {
        let next = self.next.take()?;
        self.left = self.left.checked_sub(1)?;
        Some(next)
    }

    /// After `tried` has come to `setback`: the same server in another way, or the next one. Whether
    /// the server has failed.
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
