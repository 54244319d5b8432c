//! What a picture shows.

/// The figures of a box. `None` is a value that is not known: a picture shows a dash for it, never
/// 0.
#[derive(Clone, Debug, Default)]
pub struct OledFigures<'a> {
    pub name: &'a str,
    pub address: Option<&'a str>,
    pub key: Option<OledKey<'a>>,
    /// In the order of their squares, at most 34.
    pub nodes: &'a [OledNode],
    pub cpu_percent: Option<u8>,
    pub memory_percent: Option<u8>,
    /// Bytes per second.
    pub received: Option<u64>,
    /// Bytes per second.
    pub sent: Option<u64>,
    /// Bytes per second, the newest last. All samples are of the same length of time.
    pub traffic: &'a [Option<u64>],
    pub coins_per_hour: Option<f64>,
    /// Shown on each page, light and dark swapped.
    pub alarm: Option<&'a str>,
}

#[derive(Clone, Copy, Debug)]
pub struct OledKey<'a> {
    pub bytes: [u8; 32],
    /// `did:key:z6Mk…`
    pub text: &'a str,
}

#[derive(Clone, Copy, Debug)]
pub struct OledNode {
    pub number: u8,
    pub condition: NodeCondition,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NodeCondition {
    Ready,
    Trouble,
    NotHeard,
    Off,
    /// Nothing is plugged in.
    Empty,
}
