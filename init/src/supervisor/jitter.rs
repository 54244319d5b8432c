//! Random jitter, so that units that failed together are not restarted together.

/// A pseudo-random sequence: SplitMix64 (Steele, Lea, Flood 2014). Not for secrets.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_published_generator() {
        // The first numbers of seed 1234567, as in the reference implementation's test vectors.
        let mut jitter = Jitter::new(1_234_567);
        assert_eq!(jitter.draw(), 6_457_827_717_110_365_317);
        assert_eq!(jitter.draw(), 3_203_168_211_198_807_973);
        assert_eq!(jitter.draw(), 9_817_491_932_198_370_423);
    }
}
