//! Frames of a malicious or broken client. They are written from docs/control.md, without the
//! product's encoder, so that a mistake there is not repeated.

use fastrand::Rng;

/// Requests that read and change nothing.
pub const HARMLESS: [&str; 4] = [
    r#"{"id":1,"verb":"describe"}"#,
    r#"{"id":2,"verb":"status"}"#,
    r#"{"id":3,"verb":"boot"}"#,
    r#"{"id":4,"verb":"logs","args":{"unit":"console","lines":3}}"#,
];

/// A stream of random frames, the same for the same seed: half of them are raw garbage, the others
/// framed garbage, requests with a few changed bytes, frames with wrong lengths, and some valid
/// ones.
pub struct Frames {
    random: Rng,
}

impl Frames {
    pub fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed) }
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let count = self.random.usize(..most);
        std::iter::repeat_with(|| self.random.u8(..)).take(count).collect()
    }

    fn changed_request(&mut self) -> Vec<u8> {
        let mut request = self.random.choice(HARMLESS).unwrap_or(HARMLESS[0]).as_bytes().to_vec();
        for _ in 0..self.random.usize(1..4) {
            let at = self.random.usize(..request.len());
            request[at] = self.random.u8(..);
        }
        request
    }
}

impl Iterator for Frames {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        Some(match self.random.u8(..20) {
            0..10 => self.bytes(300),
            10..14 => {
                let garbage = self.bytes(300);
                frame(&garbage)
            }
            14..17 => {
                let request = self.changed_request();
                frame(&request)
            }
            17 => {
                let mut lie = b"OCT1".to_vec();
                lie.extend(self.random.u32(..).to_be_bytes());
                lie.extend(self.bytes(100));
                lie
            }
            _ => frame(self.random.choice(HARMLESS).unwrap_or(HARMLESS[0]).as_bytes()),
        })
    }
}

/// Encodes `payload` as a frame: `OCT1`, its length in 32 bits, big-endian, and the payload.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [b"OCT1".as_slice(), &length.to_be_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_frames_of_every_kind() {
        let frames: Vec<_> = Frames::new(7).take(1000).collect();
        assert_eq!(frames, Frames::new(7).take(1000).collect::<Vec<_>>());
        assert_ne!(frames, Frames::new(8).take(1000).collect::<Vec<_>>());
        let framed = frames.iter().filter(|frame| frame.starts_with(b"OCT1")).count();
        assert!((400..600).contains(&framed), "{framed}");
        let right =
            frames.iter().filter(|frame| HARMLESS.iter().any(|r| frame.ends_with(r.as_bytes())));
        assert!(right.count() > 50);
    }
}
