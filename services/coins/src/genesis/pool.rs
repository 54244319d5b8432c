//! How a pool pays fees to those who carried.

use super::{GenesisProblem, MAX_COINS, MAX_HEIGHTS};

/// How the fees of a settlement period are paid to the owners of the pool's members. It makes no coins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolParameters {
    /// The most that is paid for the first settlement periods, in millionths of a coin.
    pub per_period: u64,
    /// After so many periods, half of it is paid. 0 is never.
    pub halving_periods: u64,
    /// The most of a period's fees that is paid.
    pub fees_percent: u64,
    /// The most of a period's payout that one owner gets.
    pub owner_percent: u64,
    /// So much of what a claim pays goes to the fees.
    pub levy_permille: u64,
}

impl PoolParameters {
    /// The defaults of all other keys.
    pub fn with_per_period(per_period: u64) -> Self {
        Self {
            per_period,
            halving_periods: 0,
            fees_percent: 50,
            owner_percent: 10,
            levy_permille: 10,
        }
    }

    /// The most that is paid for a period; the first one has number 1.
    pub fn schedule(&self, number: u64) -> u64 {
        let halvings = number.saturating_sub(1).checked_div(self.halving_periods).unwrap_or(0);
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        self.per_period.checked_shr(halvings).unwrap_or(0)
    }

    /// What of a payment goes to the fees. It is rounded down: a payment that is too small for a levy costs the fee,
    /// which is more.
    pub fn levy(&self, payment: u64) -> u64 {
        part(payment, self.levy_permille, 1000)
    }

    pub(super) fn check(&self) -> Result<(), GenesisProblem> {
        for (key, value, min, max) in [
            ("per_period", self.per_period, 1, MAX_COINS),
            ("halving_periods", self.halving_periods, 0, MAX_HEIGHTS),
            ("fees_percent", self.fees_percent, 0, 100),
            ("owner_percent", self.owner_percent, 1, 100),
            ("levy_permille", self.levy_permille, 0, 100),
        ] {
            if !(min..=max).contains(&value) {
                return Err(GenesisProblem::OutOfRange { key, value, min, max });
            }
        }
        Ok(())
    }

    /// In the order of the fields, 8 bytes each.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for number in [
            self.per_period,
            self.halving_periods,
            self.fees_percent,
            self.owner_percent,
            self.levy_permille,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// `amount * share / whole`, rounded down. Nothing of nothing is nothing.
pub(crate) fn part(amount: u64, share: u64, whole: u64) -> u64 {
    let exact = (u128::from(amount) * u128::from(share)).checked_div(whole.into());
    exact.and_then(|exact| u64::try_from(exact).ok()).unwrap_or(0)
}
