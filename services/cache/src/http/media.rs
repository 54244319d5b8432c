//! Content types by file name extension.

/// The type of unknown extensions.
pub const UNKNOWN: &str = "application/octet-stream";

/// Types by extension. The client chooses the name, so types with active content are left out:
/// HTML, SVG, scripts and MPD, which browsers display like any XML, are offered as downloads.
/// WebAssembly runs only if a script loads it.
const KINDS: &[(&str, &str)] = &[
    ("aac", "audio/aac"),
    ("avif", "image/avif"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4s", "video/iso.segment"),
    ("m4v", "video/mp4"),
    ("md", "text/markdown; charset=utf-8"),
    ("mkv", "video/matroska"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("tar", "application/x-tar"),
    ("ts", "video/mp2t"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// The content type of `name`.
pub fn kind(name: &str) -> &'static str {
    let last = name.rsplit('/').next().unwrap_or_default();
    let ending = last.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let found = KINDS.iter().find(|(known, _)| ending.as_deref() == Some(known));
    found.map_or(UNKNOWN, |(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_the_last_ending_and_nothing_that_runs() {
        assert_eq!(kind("film.MP4"), "video/mp4");
        assert_eq!(kind("caf%E9.mp4"), "video/mp4");
        assert_eq!(kind("a.txt/b.tar.gz"), "application/gzip");
        for (name, wanted) in [
            ("x.m3u8", "application/vnd.apple.mpegurl"),
            ("x.ts", "video/mp2t"),
            ("x.m4s", "video/iso.segment"),
            ("x.vtt", "text/vtt; charset=utf-8"),
            ("x.wasm", "application/wasm"),
        ] {
            assert_eq!(kind(name), wanted);
        }
        for unknown in [
            "",
            "mp4",
            "a.mp4/b",
            "page.html",
            "drawing.svg",
            "script.js",
            "script.mjs",
            "x.xhtml",
            "x.mpd",
        ] {
            assert_eq!(kind(unknown), UNKNOWN, "{unknown}");
        }
        assert!(KINDS.is_sorted(), "in order, and none twice");
    }
}
