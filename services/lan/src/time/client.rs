//! How far the clock is off, by others' word; without a clock or a socket in here.
//!
//! In a round each server is asked some times. Of its answers the one counts that took least time on the
//! way; of several servers the one in the middle, if most agree with it.

use std::net::IpAddr;
use std::time::Duration;

use super::packet::{NtpPacket, Stamp};

/// How often each server is asked in a round, and the pause between.
const ASKS: u32 = 4;
const ASK_DELAY: Duration = Duration::from_secs(2);

/// The pause between rounds: the shorter one until the clock is right.
const RETRY_DELAY: Duration = Duration::from_secs(64);
const MAX_DELAY: Duration = Duration::from_secs(1024);

/// An answer that took longer says too little.
const LONGEST_WAY: Duration = Duration::from_secs(1);

/// By how much servers may differ that agree, in nanoseconds.
const AGREED: i64 = 500_000_000;

/// A clock that is off by less is right, in nanoseconds.
const RIGHT: i64 = 10_000_000;

/// How many servers are asked.
pub const MAX_SERVERS: usize = 4;

#[derive(Debug, Default)]
pub struct NtpClient {
    servers: Vec<Server>,
    /// Questions left in this round.
    left: u32,
    due: Duration,
    pause: Duration,
}

#[derive(Debug)]
struct Server {
    address: IpAddr,
    /// The question that is not answered yet: its number, and when it was sent, by the clock that always
    /// runs on and by that which is to be set.
    asked: Option<(Stamp, Duration, Duration)>,
    best: Option<NtpSample>,
    /// Until when it is not asked: it has said so.
    quiet_until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NtpSample {
    /// How far the clock is behind, in nanoseconds; negative if it is ahead.
    pub behind: i64,
    /// How long question and answer were on the way.
    pub way: Duration,
    /// How many clocks are between that one and one that knows.
    pub stratum: u8,
    pub server: IpAddr,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Todo {
    /// Each server is to be asked ([`Client::ask`]).
    Ask(Vec<IpAddr>),
    /// A round is over: this is how far the clock is off.
    Off(NtpSample),
    /// A round is over, and nothing came of it.
    Nothing(&'static str),
}

impl NtpClient {
    /// Asks these servers from now on.
    pub fn set_servers(&mut self, servers: &[IpAddr], now: Duration) {
        let same = self.servers.iter().map(|server| server.address).eq(servers.iter().copied());
        if same {
            return;
        }
        let server = |address: &IpAddr| Server {
            address: *address,
            asked: None,
            best: None,
            quiet_until: Duration::ZERO,
        };
        self.servers = servers.iter().take(MAX_SERVERS).map(server).collect();
        (self.left, self.due, self.pause) = (ASKS, now, RETRY_DELAY);
    }

    /// When [`tick`](Self::tick) is to be called.
    pub fn due(&self) -> Option<Duration> {
        (!self.servers.is_empty()).then_some(self.due)
    }

    /// The time has come for something, or it may have.
    pub fn tick(&mut self, now: Duration) -> Option<Todo> {
        if self.servers.is_empty() || now < self.due {
            return None;
        }
        if self.left > 0 {
            self.left -= 1;
            self.due = now + ASK_DELAY;
            let asked = self.servers.iter().filter(|server| server.quiet_until <= now);
            return Some(Todo::Ask(asked.map(|server| server.address).collect()));
        }
        let samples: Vec<NtpSample> =
            self.servers.iter_mut().filter_map(|server| server.best.take()).collect();
        let agreed = agreed(samples, self.servers.len());
        self.left = ASKS;
        let right = matches!(&agreed, Ok(sample) if sample.behind.abs() < RIGHT);
        self.pause = if right { (self.pause * 2).min(MAX_DELAY) } else { RETRY_DELAY };
        self.due = now + self.pause;
        Some(agreed.map_or_else(Todo::Nothing, Todo::Off))
    }

    /// The question to `server`, which is sent at `now` while the clock shows `shown`; `random` is new for
    /// every call.
    pub fn ask(
        &mut self,
        server: IpAddr,
        random: u64,
        now: Duration,
        shown: Duration,
    ) -> Option<NtpPacket> {
        let server = self.servers.iter_mut().find(|it| it.address == server)?;
        // Not the time: nobody learns how far this clock is off.
        server.asked = Some((Stamp(random), now, shown));
        Some(NtpPacket::question(Stamp(random)))
    }

    /// `from` has answered at `now`; what is not to the question is passed over.
    pub fn received(&mut self, from: IpAddr, bytes: &[u8], now: Duration) {
        let Some(server) = self.servers.iter_mut().find(|it| it.address == from) else { return };
        let (Some((random, sent, shown)), Some(answer)) = (server.asked, NtpPacket::parse(bytes))
        else {
            return;
        };
        if answer.origin != random || answer.mode != 4 {
            return;
        }
        server.asked = None;
        // Kiss-o'-death (RFC 5905, 7.4).
        if answer.stratum == 0 {
            match &answer.reference {
                b"DENY" | b"RSTR" => server.quiet_until = Duration::MAX,
                b"RATE" => server.quiet_until = now + MAX_DELAY,
                _ => {}
            }
            return;
        }
        let is_set = answer.leap != 3 && (1..=15).contains(&answer.stratum);
        if !is_set || answer.transmit == Stamp::default() || answer.receive == Stamp::default() {
            return;
        }
        // By the clock that runs on: the other one may have been set meanwhile.
        let whole = now.saturating_sub(sent);
        let (receive, transmit) = (answer.receive.near(shown), answer.transmit.near(shown));
        let there = transmit.saturating_sub(receive);
        if whole > LONGEST_WAY || there > whole || transmit < receive {
            return;
        }
        let way = whole - there;
        let sample = NtpSample {
            behind: nanos(receive) - nanos(shown) - nanos(way) / 2,
            way,
            stratum: answer.stratum,
            server: from,
        };
        if server.best.is_none_or(|best| sample.way < best.way) {
            server.best = Some(sample);
        }
    }
}

/// A time since 1970, for some centuries.
fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

fn agreed(mut samples: Vec<NtpSample>, servers: usize) -> Result<NtpSample, &'static str> {
    samples.sort_by_key(|sample| sample.behind);
    let Some(middle) = samples.get(samples.len() / 2).copied() else {
        return Err("no server tells the time");
    };
    let with_it = |it: &&NtpSample| it.behind.abs_diff(middle.behind) <= AGREED.unsigned_abs();
    let count = samples.iter().filter(with_it).count();
    // One liar among two cannot be told from the other.
    if servers > 1 && 2 * count <= samples.len() {
        return Err("the servers do not agree about the time");
    }
    Ok(middle)
}

#[cfg(test)]
mod tests;
