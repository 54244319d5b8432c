//! Range requests (RFC 9110, section 14).

/// The maximum number of parts; above it, the whole object is sent.
pub const MAX: usize = 32;

/// A non-empty range of bytes, from `start` up to but excluding `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    pub start: u64,
    pub end: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedRange {
    /// The whole object: there is no range, or one that must be ignored.
    Whole,
    /// These ranges, in the requested order.
    Parts(Vec<ByteRange>),
    /// No satisfiable range.
    Nothing,
}

/// A range as written.
enum Spec {
    From(u64, Option<u64>),
    Last(u64),
}

impl ByteRange {
    /// The length in bytes.
    pub fn length(self) -> u64 {
        self.end - self.start
    }
}

/// Evaluates the field `Range` for an object of `size` bytes. A malformed field is ignored, as the
/// RFC requires; so are ranges that exceed the whole object in total.
pub fn parse_range(field: &str, size: u64) -> RequestedRange {
    let Some(specs) = parse(field) else { return RequestedRange::Whole };
    let spans: Vec<ByteRange> = specs.iter().filter_map(|spec| spec.resolve(size)).collect();
    let sum = spans.iter().try_fold(0u64, |sum, span| sum.checked_add(span.length()));
    match () {
        () if spans.is_empty() => RequestedRange::Nothing,
        () if spans.len() > MAX || (spans.len() > 1 && sum.is_none_or(|sum| sum > size)) => {
            RequestedRange::Whole
        }
        () => RequestedRange::Parts(spans),
    }
}

/// The ranges of a field; at least one.
fn parse(field: &str) -> Option<Vec<Spec>> {
    let (unit, set) = field.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A list may have empty elements (RFC 9110, 5.6.1.2).
    let elements = set.split(',').map(|element| element.trim_matches([' ', '\t']));
    let specs: Option<Vec<Spec>> =
        elements.filter(|element| !element.is_empty()).map(Spec::parse).collect();
    specs.filter(|specs| !specs.is_empty())
}

impl Spec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        match (first, last) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The bytes of the range within an object of `size`.
    fn resolve(&self, size: u64) -> Option<ByteRange> {
        let (start, end) = match *self {
            Self::From(first, last) => {
                (first, last.map_or(size, |last| last.saturating_add(1).min(size)))
            }
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        (start < end).then_some(ByteRange { start, end })
    }
}

/// Parses a number; one that overflows is larger than any object.
fn number(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(spans: &[(u64, u64)]) -> RequestedRange {
        RequestedRange::Parts(spans.iter().map(|&(start, end)| ByteRange { start, end }).collect())
    }

    #[test]
    fn as_the_rfc_has_it() {
        // The examples of RFC 9110, 14.1.2, and variations.
        for (field, expected) in [
            ("bytes=0-499", parts(&[(0, 500)])),
            ("bytes=500-999", parts(&[(500, 1000)])),
            ("bytes=-500", parts(&[(9500, 10000)])),
            ("bytes=9500-", parts(&[(9500, 10000)])),
            ("bytes=0-0,-1", parts(&[(0, 1), (9999, 10000)])),
            ("bytes= 0-999, 4500-5499, -1000", parts(&[(0, 1000), (4500, 5500), (9000, 10000)])),
            ("bytes=500-600,601-999", parts(&[(500, 601), (601, 1000)])),
            ("Bytes=,1-1,,", parts(&[(1, 2)])),
            ("bytes=-20000", parts(&[(0, 10000)])),
            ("bytes=9999-99999999999999999999999", parts(&[(9999, 10000)])),
            // The satisfiable part of the ranges.
            ("bytes=10000-,0-0", parts(&[(0, 1)])),
            ("bytes=10000-", RequestedRange::Nothing),
            ("bytes=-0", RequestedRange::Nothing),
            ("bytes=99999999999999999999999-", RequestedRange::Nothing),
            ("bytes=", RequestedRange::Whole),
            ("bytes=1", RequestedRange::Whole),
            ("bytes=2-1", RequestedRange::Whole),
            ("bytes=-", RequestedRange::Whole),
            ("bytes=0-0,x", RequestedRange::Whole),
            ("bytes=+1-2", RequestedRange::Whole),
            ("bytes=0-1-2", RequestedRange::Whole),
            ("bytes 0-1", RequestedRange::Whole),
            ("lines=0-1", RequestedRange::Whole),
            ("bytes=0-,0-", RequestedRange::Whole),
        ] {
            assert_eq!(parse_range(field, 10000), expected, "{field}");
        }
        assert_eq!(parse_range("bytes=0-", 0), RequestedRange::Nothing);
        assert_eq!(parse_range("bytes=-5", 0), RequestedRange::Nothing);
    }

    #[test]
    fn many_small_parts_are_the_whole() {
        let field = |count: usize| {
            let all: Vec<String> = (0..count).map(|at| format!("{at}-{at}")).collect();
            format!("bytes={}", all.join(","))
        };
        assert!(
            matches!(parse_range(&field(MAX), 10000), RequestedRange::Parts(spans) if spans.len() == MAX)
        );
        assert_eq!(parse_range(&field(MAX + 1), 10000), RequestedRange::Whole);
    }

    /// A generated range, with a membership test for bytes of an object of `size`.
    #[derive(Debug, Clone)]
    enum Made {
        Both(u64, u64),
        Open(u64),
        Suffix(u64),
    }

    impl Made {
        fn text(&self) -> String {
            match self {
                Self::Both(first, more) => format!("{first}-{}", first + more),
                Self::Open(first) => format!("{first}-"),
                Self::Suffix(count) => format!("-{count}"),
            }
        }

        fn bytes(&self, size: u64) -> Vec<u64> {
            let is_in = |at: &u64| match self {
                Self::Both(first, more) => (*first..=first + more).contains(at),
                Self::Open(first) => at >= first,
                Self::Suffix(count) => at + count >= size,
            };
            (0..size).filter(is_in).collect()
        }
    }

    fn made() -> impl Strategy<Value = Made> {
        prop_oneof![
            (0u64..80, 0u64..80).prop_map(|(first, more)| Made::Both(first, more)),
            (0u64..80).prop_map(Made::Open),
            (0u64..80).prop_map(Made::Suffix),
        ]
    }

    proptest! {
        /// The result equals a byte-by-byte membership test.
        #[test]
        fn the_bytes_that_were_asked_for(
            all in prop::collection::vec(made(), 1..6), size in 0u64..60, space in "[ \t]{0,2}",
        ) {
            let texts: Vec<String> = all.iter().map(Made::text).collect();
            let field = format!("bytes={}", texts.join(&format!("{space},{space}")));
            let bytes: Vec<Vec<u64>> =
                all.iter().map(|made| made.bytes(size)).filter(|bytes| !bytes.is_empty()).collect();
            let sum: usize = bytes.iter().map(Vec::len).sum();
            match parse_range(&field, size) {
                RequestedRange::Nothing => prop_assert!(bytes.is_empty()),
                RequestedRange::Whole => prop_assert!(bytes.len() > 1 && sum as u64 > size),
                RequestedRange::Parts(spans) => {
                    let given: Vec<Vec<u64>> =
                        spans.iter().map(|span| (span.start..span.end).collect()).collect();
                    prop_assert_eq!(given, bytes);
                }
            }
        }

        #[test]
        fn nothing_that_is_not_there(
            field in prop_oneof!["\\PC{0,40}", "bytes=[-0-9, ]{0,60}"], size: u64,
        ) {
            if let RequestedRange::Parts(spans) = parse_range(&field, size) {
                prop_assert!((1..=MAX).contains(&spans.len()));
                prop_assert!(spans.iter().all(|span| span.start < span.end && span.end <= size));
            }
        }
    }
}
