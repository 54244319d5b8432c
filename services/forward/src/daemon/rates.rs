//! Rate limits of paths.

use octet_node::control::{Failure, FailureCode};
use serde_json::{Value, json};

use super::answer::unknown_path;
use super::{Daemon, seconds};
use crate::engine::{MAX_RATE, PathNumber};

/// The minimum rate limit in kbit/s. Below it, probes would take a large share of the rate and be dropped.
const LOWEST: u32 = 64;

/// Validates a requested rate limit in kbit/s; 0 means unlimited.
pub fn rate(asked: u64) -> Result<u32, Failure> {
    let range = LOWEST..=MAX_RATE;
    let rate = u32::try_from(asked).ok().filter(|rate| *rate == 0 || range.contains(rate));
    rate.ok_or_else(|| {
        let help = format!("give {LOWEST} to {MAX_RATE} kbit/s, or 0 for no bound");
        Failure::new(FailureCode::BadArgument, format!("no path has a rate of {asked}"), help)
    })
}

impl Daemon {
    /// Changes the rate limit of a path, and of all paths of its route.
    pub(super) async fn change_rate(
        &mut self,
        number: PathNumber,
        rate: u32,
    ) -> Result<Value, Failure> {
        if self.engine.path(number).is_none() {
            return Err(unknown_path(number));
        }
        let paths = self.routes.desired.set_rate(number, rate);
        if let Some(node) = self.routes.desired.route_of(number) {
            self.routes.persist(node, &self.state);
        }
        for path in paths {
            let actions = self.engine.set_rate(path, rate, seconds());
            self.apply(actions).await;
        }
        Ok(json!({ "path": number.0, "kilobits": rate }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_path_has_is_refused() {
        for asked in [0, 64, 100_000_000] {
            assert_eq!(rate(asked), Ok(asked as u32));
        }
        for asked in [1, 63, 100_000_001, 1 << 32, u64::MAX] {
            assert!(rate(asked).unwrap_err().message.contains(&asked.to_string()));
        }
    }
}
