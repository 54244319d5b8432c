//! `/etc/ld.so.cache`, in which glibc's loader looks a library up instead of trying folder after
//! folder: every Debian has one, and the 500 helpers of a supervisor start faster with it.

/// `glibc-ld.so.cache` and its version (glibc, `sysdeps/generic/dl-cache.h`).
const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";

/// `cache_file_new_flags_endian_little`.
const LITTLE_ENDIAN: u8 = 2;

/// `FLAG_ELF_LIBC6 | FLAG_X8664_LIB64`.
const X86_64: u32 = 0x0303;

const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The cache of x86-64 `libraries`, which are all in `folder`.
pub fn build(folder: &str, libraries: &[&str]) -> Vec<u8> {
    let mut names = libraries.to_vec();
    // The loader halves the list, which it wants in descending order.
    names.sort_unstable_by(|a, b| b.cmp(a));
    let mut strings = vec![];
    let mut entries = vec![];
    for name in &names {
        let start = HEADER + names.len() * ENTRY + strings.len();
        let path = format!("{folder}/{name}");
        // A name is the end of its path.
        let key = start + folder.len() + 1;
        strings.extend(path.bytes().chain([0]));
        for word in [X86_64, small(key), small(start), 0, 0, 0] {
            entries.extend(word.to_le_bytes());
        }
    }
    let mut cache = MAGIC.to_vec();
    cache.extend([small(names.len()), small(strings.len())].map(u32::to_le_bytes).concat());
    cache.push(LITTLE_ENDIAN);
    cache.resize(HEADER, 0);
    [cache, entries, strings].concat()
}

fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_lead_to_names_in_descending_order() {
        let cache = build("/lib", &["liba.so.1", "libb.so.2"]);
        let word = |at: usize| u32::from_le_bytes(cache[at..at + 4].try_into().unwrap()) as usize;
        let text = |at: usize| {
            let end = cache[at..].iter().position(|byte| *byte == 0).unwrap();
            std::str::from_utf8(&cache[at..at + end]).unwrap()
        };
        assert_eq!((word(20), word(24) + HEADER + 2 * ENTRY), (2, cache.len()));
        for (index, name) in ["libb.so.2", "liba.so.1"].into_iter().enumerate() {
            let entry = HEADER + index * ENTRY;
            assert_eq!(word(entry), X86_64 as usize);
            assert_eq!(text(word(entry + 4)), name);
            assert_eq!(text(word(entry + 8)), format!("/lib/{name}"));
        }
    }
}
