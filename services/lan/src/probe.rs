//! Probes gateways and boards by ICMP echo (RFC 792, RFC 4443) every ten seconds. Pure: it has no
//! socket.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The interval of probes.
const RETRY_DELAY: Duration = Duration::from_secs(10);

/// The number of missing replies after which a peer counts as down.
const MISSED: u32 = 3;

/// The types of echo requests and replies, for each IP version.
const ASK4: u8 = 8;
const ANSWER4: u8 = 0;
const ASK6: u8 = 128;
const ANSWER6: u8 = 129;

#[derive(Debug, Default)]
pub struct AddressProbe {
    peers: BTreeMap<IpAddr, PeerState>,
    /// The identifier of all requests, which distinguishes replies to others.
    id: u16,
    due: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct PeerState {
    sequence: u16,
    /// The requests since the last reply.
    missed: u32,
    answers: Option<bool>,
}

impl AddressProbe {
    /// A probe without peers; `id` is random.
    pub fn new(id: u16) -> Self {
        Self { id, ..Self::default() }
    }

    pub fn set_peers(&mut self, peers: &[IpAddr], now: Duration) {
        let before = self.peers.len();
        self.peers.retain(|peer, _| peers.contains(peer));
        let mut is_new = false;
        for peer in peers {
            self.peers.entry(*peer).or_insert_with(|| {
                is_new = true;
                PeerState::default()
            });
        }
        if is_new || before == 0 {
            self.due = now;
        }
    }

    /// When [`tick`](Self::tick) must be called.
    pub fn due(&self) -> Option<Duration> {
        (!self.peers.is_empty()).then_some(self.due)
    }

    /// The requests to send, and the peers that have just gone down.
    pub fn tick(&mut self, now: Duration) -> (Vec<(IpAddr, Vec<u8>)>, Vec<IpAddr>) {
        if now < self.due {
            return (vec![], vec![]);
        }
        self.due = now + RETRY_DELAY;
        let (mut questions, mut gone) = (vec![], vec![]);
        for (peer, asked) in &mut self.peers {
            if asked.missed >= MISSED && asked.answers.replace(false) != Some(false) {
                gone.push(*peer);
            }
            asked.missed = asked.missed.saturating_add(1);
            asked.sequence = asked.sequence.wrapping_add(1);
            questions.push((*peer, echo_request(*peer, self.id, asked.sequence)));
        }
        (questions, gone)
    }

    /// Handles an ICMP message from `from`. Returns whether that peer was down and is up again.
    pub fn receive(&mut self, from: IpAddr, message: &[u8]) -> bool {
        let Some(asked) = self.peers.get_mut(&from) else { return false };
        let kind = if from.is_ipv4() { ANSWER4 } else { ANSWER6 };
        let Some(&[a, b, _, _, id, id2, sequence, sequence2]) = message.first_chunk() else {
            return false;
        };
        let number = u16::from_be_bytes([sequence, sequence2]);
        if (a, b) != (kind, 0)
            || u16::from_be_bytes([id, id2]) != self.id
            || number != asked.sequence
        {
            return false;
        }
        asked.missed = 0;
        asked.answers.replace(true) != Some(true)
    }

    /// All peers with their state; `None` if it is not known yet.
    pub fn peers(&self) -> impl Iterator<Item = (IpAddr, Option<bool>)> {
        self.peers.iter().map(|(peer, asked)| (*peer, asked.answers))
    }
}

/// An echo request. For IPv6 the kernel fills in the checksum.
fn echo_request(to: IpAddr, id: u16, sequence: u16) -> Vec<u8> {
    let kind = if to.is_ipv4() { ASK4 } else { ASK6 };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    if to.is_ipv4() {
        let sum = checksum(&message).to_be_bytes();
        message[2..4].copy_from_slice(&sum);
    }
    message
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FOUR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The echo reply of a peer.
    fn answer(to: IpAddr, question: &[u8]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[0] = if to.is_ipv4() { ANSWER4 } else { ANSWER6 };
        message
    }

    #[test]
    fn loss_and_return_are_noticed_once() {
        let six: IpAddr = "fe80::1".parse().unwrap();
        let mut probe = AddressProbe::new(7);
        probe.set_peers(&[FOUR, six], seconds(5));
        let (questions, gone) = probe.tick(seconds(5));
        assert_eq!((questions.len(), gone.len()), (2, 0));
        assert_eq!(checksum(&questions[0].1), 0);
        for (to, question) in &questions {
            assert!(probe.receive(*to, &answer(*to, question)));
            assert!(!probe.receive(*to, &answer(*to, question)));
        }
        let mut gone = vec![];
        for step in 1..9 {
            let (questions, lost) = probe.tick(seconds(5 + 10 * step));
            gone.extend(lost);
            // One of the peers keeps replying.
            probe.receive(six, &answer(six, &questions[1].1));
        }
        assert_eq!(gone, [FOUR]);
        assert_eq!(probe.peers().collect::<Vec<_>>(), [(FOUR, Some(false)), (six, Some(true))]);
        let (questions, _) = probe.tick(seconds(200));
        assert!(probe.receive(FOUR, &answer(FOUR, &questions[0].1)));
        probe.set_peers(&[], seconds(201));
        assert_eq!(probe.due(), None);
    }

    #[test]
    fn what_is_no_answer_does_not_count() {
        let mut probe = AddressProbe::new(7);
        probe.set_peers(&[FOUR], seconds(0));
        let (questions, _) = probe.tick(seconds(0));
        let good = answer(FOUR, &questions[0].1);
        for at in [0, 1, 4, 5, 6, 7] {
            let mut wrong = good.clone();
            wrong[at] ^= 1;
            assert!(!probe.receive(FOUR, &wrong), "byte {at}");
        }
        assert!(!probe.receive("192.0.2.2".parse().unwrap(), &good));
        assert!(!probe.receive(FOUR, &good[..7]));
        assert!(probe.receive(FOUR, &good));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut probe = AddressProbe::new(0);
            probe.set_peers(&[FOUR], seconds(0));
            probe.receive(FOUR, &bytes);
        }
    }
}
