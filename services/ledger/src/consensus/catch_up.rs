//! How a node that lacks blocks gets them: others say how far they are, and it asks one of them at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use octet_node::control::PublicKey;

use super::certificate::BlockCertificate;

/// After this time without an answer, another node is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// For how long a node is not asked that gave no answer, or a wrong one.
const AVOIDANCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// The newest heights that others said they have.
    heights: BTreeMap<PublicKey, u64>,
    /// Who was asked, and until when the answer is waited for.
    asked: Option<(PublicKey, Duration)>,
    /// Who answered last.
    supplier: Option<PublicKey>,
    avoided: BTreeMap<PublicKey, Duration>,
}

impl CatchUp {
    pub(super) fn note_height(&mut self, of: PublicKey, height: u64) {
        self.heights.insert(of, height);
    }

    /// Whom to ask for blocks after `height`, if there is somebody: the last one that answered, or `preferred`.
    pub(super) fn ask(
        &mut self,
        preferred: Option<PublicKey>,
        height: u64,
        now: Duration,
    ) -> Option<PublicKey> {
        if let Some((peer, until)) = self.asked {
            if now < until {
                return None;
            }
            self.avoid(peer, now);
        }
        self.avoided.retain(|_, until| now < *until);
        let is_of_use = |peer: &PublicKey| {
            !self.avoided.contains_key(peer)
                && self.heights.get(peer).is_some_and(|it| *it > height)
        };
        let peer = [self.supplier, preferred].into_iter().flatten().find(is_of_use)?;
        self.asked = Some((peer, now + ANSWER_TIMEOUT));
        Some(peer)
    }

    /// Takes an answer. `None`: it was not asked for, or its first block is not that after `height`, or its blocks are
    /// not in order.
    pub(super) fn answer(
        &mut self,
        from: PublicKey,
        blocks: Vec<(Vec<u8>, Vec<u8>)>,
        height: u64,
        now: Duration,
    ) -> Option<Vec<(Vec<u8>, BlockCertificate)>> {
        self.asked.take_if(|(peer, _)| *peer == from)?;
        let blocks: Option<Vec<_>> = (height + 1..)
            .zip(blocks)
            .map(|(height, (block, certificate))| {
                let certificate = BlockCertificate::from_bytes(&certificate)?;
                (certificate.height == height).then_some((block, certificate))
            })
            .collect();
        match blocks.filter(|blocks| !blocks.is_empty()) {
            Some(blocks) => {
                self.supplier = Some(from);
                Some(blocks)
            }
            None => {
                self.avoid(from, now);
                None
            }
        }
    }

    /// The blocks of the last answer were wrong.
    pub(super) fn was_wrong(&mut self, now: Duration) {
        if let Some(peer) = self.supplier.take() {
            self.avoid(peer, now);
        }
    }

    fn avoid(&mut self, peer: PublicKey, now: Duration) {
        self.asked.take_if(|(asked, _)| *asked == peer);
        self.supplier.take_if(|supplier| *supplier == peer);
        self.avoided.insert(peer, now + AVOIDANCE);
    }
}
