//! Reads and extends the archive of an initramfs: cpio "newc" (the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst). It is written from that
//! specification, without the builder's code.

const HEADER: usize = 110;

/// The content of the file `path` (without a leading `/`) in the uncompressed archive `initrd`.
pub fn find<'a>(initrd: &'a [u8], path: &str) -> Option<&'a [u8]> {
    let mut rest = initrd;
    loop {
        let header = rest.get(..HEADER)?;
        if !header.starts_with(b"070701") {
            return None;
        }
        let field = |number: usize| {
            let text = std::str::from_utf8(header.get(6 + 8 * number..14 + 8 * number)?).ok()?;
            usize::from_str_radix(text, 16).ok()
        };
        let (size, name_size) = (field(6)?, field(11)?);
        let name = rest.get(HEADER..HEADER + name_size - 1)?;
        let start = (HEADER + name_size).next_multiple_of(4);
        if name == path.as_bytes() {
            return rest.get(start..start + size);
        }
        rest = rest.get((start + size).next_multiple_of(4)..)?;
    }
}

/// Appends an archive with these files to `initrd`: the kernel unpacks the archives in order, and a
/// later file replaces an earlier one with the same path.
pub fn append(initrd: &mut Vec<u8>, files: &[(&str, &[u8])]) {
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    for (path, content) in files {
        entry(initrd, path, 0o100_755, content);
    }
    end(initrd);
}

pub fn end(initrd: &mut Vec<u8>) {
    entry(initrd, "TRAILER!!!", 0, &[]);
}

/// Appends a file, a folder or a symbolic link, whose content is its target; `mode` is that of
/// inode(7).
pub fn entry(out: &mut Vec<u8>, path: &str, mode: u32, content: &[u8]) {
    // ino, mode, uid, gid, nlink, mtime, filesize, major, minor, rmajor, rminor, namesize, check
    let (size, name_size) = (content.len() as u32, path.len() as u32 + 1);
    let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
    out.extend_from_slice(b"070701");
    out.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend_from_slice(content);
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_added() {
        let mut initrd = vec![];
        append(&mut initrd, &[("a", b"12345"), ("b/c", b"")]);
        assert_eq!(find(&initrd, "a"), Some(&b"12345"[..]));
        assert_eq!(find(&initrd, "b/c"), Some(&b""[..]));
        assert_eq!(find(&initrd, "c"), None);
        assert_eq!(initrd.len() % 4, 0);
    }
}
