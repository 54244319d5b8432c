//! Completion in a shell. With `complete -C octetctl octetctl`, bash runs the program with the
//! command line in its environment (Bash Reference Manual, "Programmable Completion"), and offers
//! each printed line.

use std::env;

const LINE: &str = "COMP_LINE";

/// The cursor's position in the line, in bytes.
const POINT: &str = "COMP_POINT";

/// The commands of this program itself, and its options.
const OWN: [&str; 12] = [
    "--board",
    "--box",
    "--key",
    "boxes",
    "keygen",
    "ledger",
    "openwrt",
    "revoke",
    "sign",
    "sign-coordinator",
    "vouch",
    "web",
];

/// Whether a shell requests completion: then the user must not be prompted.
pub fn is_requested() -> bool {
    env::var_os(LINE).is_some()
}

/// The words before the cursor, without the program's name. The last one is incomplete, and may be
/// empty.
pub fn words() -> Option<Vec<String>> {
    let line = env::var(LINE).ok()?;
    let point = env::var(POINT).ok().and_then(|point| point.parse().ok());
    Some(split(point.and_then(|point| line.get(..point)).unwrap_or(&line)))
}

fn split(line: &str) -> Vec<String> {
    let mut words: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
    if line.ends_with(char::is_whitespace) {
        words.push(String::new());
    }
    words
}

/// The program's own commands and options that start with `begun`.
pub fn own_words(begun: &str) -> Vec<String> {
    let own = OWN.into_iter().filter(|word| {
        // Options are only offered after a `-`.
        word.starts_with(begun) && (begun.starts_with('-') || !word.starts_with('-'))
    });
    own.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_has_begun() {
        assert_eq!(split("octetctl --box hill forward pa"), ["--box", "hill", "forward", "pa"]);
        assert_eq!(split("octetctl  forward "), ["forward", ""]);
        assert_eq!(split("octetctl "), [""]);
        assert!(split("octetctl").is_empty());
    }

    #[test]
    fn what_it_does_by_itself() {
        assert_eq!(own_words("sign"), ["sign", "sign-coordinator"]);
        assert_eq!(own_words("--b"), ["--board", "--box"]);
        assert!(own_words("").iter().all(|word| !word.starts_with('-')));
    }
}
