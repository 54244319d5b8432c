//! Names of boot loader entries with counters (Boot Loader Specification, "Boot counting"):
//! `octet-VERSION.conf`, `octet-VERSION+LEFT.conf`, `octet-VERSION+LEFT-DONE.conf`.

use super::Standing;

/// The name of the entry that is not counted.
pub fn good(version: &str) -> String {
    format!("octet-{version}.conf")
}

/// How the slot `version` stands by the name of an entry; `None` if it is the entry of another.
pub fn standing(name: &str, version: &str) -> Option<Standing> {
    let rest = name.strip_prefix("octet-")?.strip_prefix(version)?.strip_suffix(".conf")?;
    if rest.is_empty() {
        return Some(Standing::Good);
    }
    let counter = rest.strip_prefix('+')?;
    let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
    Some(Standing::Trying { left: number(left)?, done: number(done)? })
}

/// Digits alone: `parse` would also take a sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_names() {
        let of = |name| standing(name, "0.1.0-1a2b");
        assert_eq!(of("octet-0.1.0-1a2b.conf"), Some(Standing::Good));
        assert_eq!(of("octet-0.1.0-1a2b+3.conf"), Some(Standing::Trying { left: 3, done: 0 }));
        assert_eq!(of("octet-0.1.0-1a2b+0-3.conf"), Some(Standing::Trying { left: 0, done: 3 }));
        for other in [
            "octet-0.1.0-1a2.conf",
            "octet-0.1.0-1a2bc.conf",
            "octet-0.1.0-1a2b+.conf",
            "octet-0.1.0-1a2b++1.conf",
            "octet-0.1.0-1a2b+1-.conf",
            "octet-0.1.0-1a2b+1",
            "octet-0.1.0-1a2b.conf.new",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_read_or_refused(name in "\\PC{0,40}", left: u32, done: u32) {
            let _ = standing(&name, "1");
            let counted = format!("octet-1+{left}-{done}.conf");
            prop_assert_eq!(standing(&counted, "1"), Some(Standing::Trying { left, done }));
        }
    }
}
