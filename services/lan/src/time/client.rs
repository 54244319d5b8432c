//! The SNTP client: measures the clock's offset. It has no clock and no socket.
//!
//! In a round each server is asked several times. The answer with the shortest round trip counts;
//! of several servers the median, if most agree with it.

use std::net::IpAddr;
use std::time::Duration;

use super::packet::{NtpPacket, Stamp};

/// The number of requests per server and round, and their interval.
const ASKS: u32 = 4;
const ASK_DELAY: Duration = Duration::from_secs(2);

/// The interval of rounds; it grows to the maximum while the clock is right.
const RETRY_DELAY: Duration = Duration::from_secs(64);
const MAX_DELAY: Duration = Duration::from_secs(1024);

/// Answers with a longer round trip are ignored as too inaccurate.
const LONGEST_WAY: Duration = Duration::from_secs(1);

/// The maximum difference between servers that agree, in nanoseconds.
const AGREED: i64 = 500_000_000;

/// The maximum offset of a clock that counts as right, in nanoseconds.
const RIGHT: i64 = 10_000_000;

/// The maximum number of servers.
pub const MAX_SERVERS: usize = 4;

#[derive(Debug, Default)]
pub struct NtpClient {
    servers: Vec<Server>,
    /// The remaining requests of this round.
    remaining: u32,
    due: Duration,
    poll_interval: Duration,
}

#[derive(Debug)]
struct Server {
    address: IpAddr,
    /// The request in flight: its random transmit timestamp, and when it was sent by the monotonic
    /// clock and by the clock that is measured.
    pending: Option<(Stamp, Duration, Duration)>,
    best: Option<NtpSample>,
    /// Until when the server must not be asked (kiss-o'-death).
    not_before: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpSample {
    /// How far the clock is behind, in nanoseconds; negative if it is ahead.
    pub offset: i64,
    /// The round trip time.
    pub round_trip: Duration,
    /// The server's stratum.
    pub stratum: u8,
    pub server: IpAddr,
}

/// The next action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NtpAction {
    /// Each of these servers must be asked ([`NtpClient::ask`]).
    Ask(Vec<IpAddr>),
    /// A round is over, with this offset.
    Offset(NtpSample),
    /// A round is over without a result.
    Failed(&'static str),
}

impl NtpClient {
    /// Replaces the servers.
    pub fn set_servers(&mut self, servers: &[IpAddr], now: Duration) {
        let same = self.servers.iter().map(|server| server.address).eq(servers.iter().copied());
        if same {
            return;
        }
        let server = |address: &IpAddr| Server {
            address: *address,
            pending: None,
            best: None,
            not_before: Duration::ZERO,
        };
        self.servers = servers.iter().take(MAX_SERVERS).map(server).collect();
        (self.remaining, self.due, self.poll_interval) = (ASKS, now, RETRY_DELAY);
    }

    /// When [`tick`](Self::tick) must be called.
    pub fn due(&self) -> Option<Duration> {
        (!self.servers.is_empty()).then_some(self.due)
    }

    /// Handles a timer, which may be early.
    pub fn tick(&mut self, now: Duration) -> Option<NtpAction> {
        if self.servers.is_empty() || now < self.due {
            return None;
        }
        if self.remaining > 0 {
            self.remaining -= 1;
            self.due = now + ASK_DELAY;
            let asked = self.servers.iter().filter(|server| server.not_before <= now);
            return Some(NtpAction::Ask(asked.map(|server| server.address).collect()));
        }
        let samples: Vec<NtpSample> =
            self.servers.iter_mut().filter_map(|server| server.best.take()).collect();
        let agreed = select(samples, self.servers.len());
        self.remaining = ASKS;
        let right = matches!(&agreed, Ok(sample) if sample.offset.abs() < RIGHT);
        self.poll_interval =
            if right { (self.poll_interval * 2).min(MAX_DELAY) } else { RETRY_DELAY };
        self.due = now + self.poll_interval;
        Some(agreed.map_or_else(NtpAction::Failed, NtpAction::Offset))
    }

    /// The request to `server`, sent at `now` while the clock shows `shown`; `random` differs for
    /// each call.
    pub fn ask(
        &mut self,
        server: IpAddr,
        random: u64,
        now: Duration,
        shown: Duration,
    ) -> Option<NtpPacket> {
        let server = self.servers.iter_mut().find(|it| it.address == server)?;
        // The transmit timestamp is random, so that it does not disclose this clock's offset.
        server.pending = Some((Stamp(random), now, shown));
        Some(NtpPacket::request(Stamp(random)))
    }

    /// Handles a message of `from`, received at `now`; it is ignored unless it answers the request
    /// in flight.
    pub fn receive(&mut self, from: IpAddr, bytes: &[u8], now: Duration) {
        let Some(server) = self.servers.iter_mut().find(|it| it.address == from) else { return };
        let (Some((random, sent, shown)), Some(answer)) = (server.pending, NtpPacket::parse(bytes))
        else {
            return;
        };
        if answer.origin != random || answer.mode != 4 {
            return;
        }
        server.pending = None;
        // A kiss-o'-death packet (RFC 5905, 7.4).
        if answer.stratum == 0 {
            match &answer.reference {
                b"DENY" | b"RSTR" => server.not_before = Duration::MAX,
                b"RATE" => server.not_before = now + MAX_DELAY,
                _ => {}
            }
            return;
        }
        let is_set = answer.leap != 3 && (1..=15).contains(&answer.stratum);
        if !is_set || answer.transmit == Stamp::default() || answer.receive == Stamp::default() {
            return;
        }
        // The round trip is measured by the monotonic clock: the other one may have been set since.
        let whole = now.saturating_sub(sent);
        let (receive, transmit) = (answer.receive.near(shown), answer.transmit.near(shown));
        let there = transmit.saturating_sub(receive);
        if whole > LONGEST_WAY || there > whole || transmit < receive {
            return;
        }
        let way = whole - there;
        let sample = NtpSample {
            offset: nanos(receive) - nanos(shown) - nanos(way) / 2,
            round_trip: way,
            stratum: answer.stratum,
            server: from,
        };
        if server.best.is_none_or(|best| sample.round_trip < best.round_trip) {
            server.best = Some(sample);
        }
    }
}

/// A duration in nanoseconds, which suffices for some centuries after 1970.
fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

fn select(mut samples: Vec<NtpSample>, servers: usize) -> Result<NtpSample, &'static str> {
    samples.sort_by_key(|sample| sample.offset);
    let Some(middle) = samples.get(samples.len() / 2).copied() else {
        return Err("no server tells the time");
    };
    let with_it = |it: &&NtpSample| it.offset.abs_diff(middle.offset) <= AGREED.unsigned_abs();
    let count = samples.iter().filter(with_it).count();
    // With two servers that differ, the wrong one is unknown.
    if servers > 1 && 2 * count <= samples.len() {
        return Err("the servers do not agree about the time");
    }
    Ok(middle)
}

#[cfg(test)]
mod tests;
