//! Descriptors that PID 1 passes to a service (`sd_listen_fds(3)`).

use std::os::fd::{OwnedFd, RawFd};

use crate::sys::{self, FIRST};

/// The maximum number of accepted descriptors, whatever the environment says.
const MAX: usize = 4096;

/// The descriptors that were passed to this service, with their names: `LISTEN_FDS` of them from 3 on, named by
/// `LISTEN_FDNAMES` (separated by `:`). If `LISTEN_PID` is set, it must be this process. The first call takes
/// them; a further one finds none.
///
/// Call it at the start of `main`, before anything else opens a descriptor.
pub fn inherited() -> Vec<(String, OwnedFd)> {
    let variable = |name| std::env::var(name).ok();
    let names = names(
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
        std::process::id(),
    );
    let last = FIRST + RawFd::try_from(names.len()).unwrap_or(0);
    names.into_iter().zip(sys::take_fds(FIRST..last)).collect()
}

/// The names of the descriptors; `unknown` for those without one, like `sd_listen_fds_with_names(3)`.
fn names(count: Option<&str>, pid: Option<&str>, names: Option<&str>, own_pid: u32) -> Vec<String> {
    let count = count.and_then(|count| count.parse().ok()).unwrap_or(0usize).min(MAX);
    if pid.is_some_and(|pid| pid.parse() != Ok(own_pid)) {
        return vec![];
    }
    let given = names.unwrap_or_default().split(':').filter(|name| !name.is_empty());
    let given = given.map(str::to_owned);
    given.chain(std::iter::repeat_with(|| "unknown".to_owned())).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_as_they_were_given() {
        let all = names(Some("2"), Some("7"), Some("a:b"), 7);
        assert_eq!(all, ["a", "b"]);
        assert_eq!(names(Some("2"), None, Some("a"), 7), ["a", "unknown"]);
        assert_eq!(names(Some("1"), None, Some("a:b"), 7), ["a"]);
        assert!(names(Some("2"), Some("8"), Some("a:b"), 7).is_empty());
        assert!(names(None, None, Some("a:b"), 7).is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(count in "\\PC*", pid in "[0-9]{0,12}", given in "\\PC*") {
            let all = names(Some(&count), Some(&pid), Some(&given), 7);
            prop_assert!(all.len() <= MAX);
        }
    }
}
