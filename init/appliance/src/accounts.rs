//! `[accounts]`: receipts between this box and its neighbours for the bytes of paths and of objects.

use serde::{Deserialize, Serialize};

/// `[accounts]`
///
/// Without this section nothing is signed, and nobody's traffic is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountsSection {
    /// How much one side may owe the other, in millionths of the unit of account. Beyond it this box signs no more
    /// receipts, and serves no more paths of the neighbour.
    #[serde(default = "default_max_debt")]
    pub max_debt: u64,
    /// How many of 1000 bytes that this box has served may be lost on the way to the neighbour, who signs only what
    /// it received. More than this and the window stops the neighbour.
    #[serde(default)]
    pub max_loss: MaxLoss,
    /// The most bytes that a neighbour is served before it has signed for them. The window is 4 s of the measured
    /// capacity of the link, and at least 1 MiB, unless this is less.
    #[serde(default = "default_max_window")]
    pub max_window: u64,
}

/// 4 s at 1 Gbit/s.
const fn default_max_window() -> u64 {
    1 << 29
}

/// One unit of account.
const fn default_max_debt() -> u64 {
    1_000_000
}

/// A part of 1000: 0 to 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct MaxLoss(u16);

impl Default for MaxLoss {
    fn default() -> Self {
        Self(10)
    }
}

/// A loss with which nobody would be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} of 1000 is more than half: write 0 to 500")]
pub struct TooLossy(u16);

impl TryFrom<u16> for MaxLoss {
    type Error = TooLossy;

    fn try_from(of_1000: u16) -> Result<Self, TooLossy> {
        if of_1000 <= 500 { Ok(Self(of_1000)) } else { Err(TooLossy(of_1000)) }
    }
}

impl From<MaxLoss> for u16 {
    fn from(loss: MaxLoss) -> u16 {
        loss.0
    }
}

#[cfg(test)]
mod tests {
    use crate::Appliance;

    const REST: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

    #[test]
    fn nothing_is_on_by_itself() {
        let parse = |section: &str| Appliance::parse("appliance.toml", &format!("{REST}{section}"));
        assert_eq!(parse("").unwrap().accounts, None);
        let of = |section: &str| {
            let accounts = parse(section).unwrap().accounts.unwrap();
            (accounts.max_debt, u16::from(accounts.max_loss), accounts.max_window)
        };
        assert_eq!(of("[accounts]\n"), (1_000_000, 10, 1 << 29));
        let section = "[accounts]\nmax_debt = 7\nmax_loss = 500\nmax_window = 9\n";
        assert_eq!(of(section), (7, 500, 9));
        for bad in ["max_loss = 501", "max_loss = -1", "max_debt = -1", "window = 5"] {
            let error = parse(&format!("[accounts]\n{bad}\n")).unwrap_err().to_string();
            assert!(error.contains("appliance.toml:"), "{error}");
        }
    }
}
