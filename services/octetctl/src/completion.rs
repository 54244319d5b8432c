//! What a shell may put behind a command line that has begun. Bash asks by `complete -C octetctl octetctl`: it runs the
//! program with the line in its environment (Bash Reference Manual, "Programmable Completion"), and takes each line that
//! is printed for a word.

use std::env;

const LINE: &str = "COMP_LINE";

/// How many bytes of it stand before the cursor.
const POINT: &str = "COMP_POINT";

/// What this program does by itself, and its options.
const OWN: [&str; 10] = [
    "--board",
    "--box",
    "--key",
    "boxes",
    "keygen",
    "openwrt",
    "revoke",
    "sign",
    "sign-coordinator",
    "vouch",
];

/// Whether a shell asks, and no person: nobody is there to be asked.
pub fn is_asked() -> bool {
    env::var_os(LINE).is_some()
}

/// The words before the cursor, without the program's name. The last one has begun; it may be empty.
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

/// What of this program's own begins so.
pub fn own(begun: &str) -> Vec<String> {
    let own = OWN.into_iter().filter(|word| {
        // An option is offered to who has begun one.
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
        assert_eq!(own("sign"), ["sign", "sign-coordinator"]);
        assert_eq!(own("--b"), ["--board", "--box"]);
        assert!(own("").iter().all(|word| !word.starts_with('-')));
    }
}
