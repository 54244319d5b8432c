//! The licence of a Debian package, from its copyright file (Debian's copyright-format 1.0).

/// The licence of `Files: *`, the first words for all that no other paragraph names, as SPDX
/// spells it. A file in another format gives none.
pub fn license(text: &str) -> Option<String> {
    let mut paragraphs = text.split("\n\n");
    if !paragraphs.next()?.starts_with("Format:") {
        return None;
    }
    let files = paragraphs.find(|paragraph| paragraph.trim_start().starts_with("Files: *\n"))?;
    let name = files.lines().find_map(|line| line.strip_prefix("License:"))?.trim();
    Some(spdx(name))
}

/// Debian's short name of a licence as an SPDX identifier; a name that is none stays as it is.
fn spdx(name: &str) -> String {
    if name == "Expat" {
        return "MIT".into();
    }
    if !["GPL-", "LGPL-", "AGPL-"].iter().any(|family| name.starts_with(family)) {
        return name.to_owned();
    }
    let (number, which) = match name.strip_suffix('+') {
        Some(number) => (number, "or-later"),
        None => (name, "only"),
    };
    let dot = if number.contains('.') { "" } else { ".0" };
    format!("{number}{dot}-{which}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_licence_of_all_files() {
        let text = "Format: 1.0\nSource: it\n\nFiles: *\nCopyright: somebody\n else\nLicense: LGPL-2.1+\n\n\
            Files: debian/*\nCopyright: another\nLicense: Expat\n";
        assert_eq!(license(text).as_deref(), Some("LGPL-2.1-or-later"));
        assert_eq!(license(&text.replace("Format", "Form")), None);
        assert_eq!(license(&text.replace("Files: *", "Files: src/*")), None);
        for (debian, id) in [("GPL-2", "GPL-2.0-only"), ("Expat", "MIT"), ("BSD", "BSD")] {
            assert_eq!(spdx(debian), id);
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(Format:|Files: \\*|License:|\n|\\PC{0,5}){0,20}") {
            let _ = license(&text);
        }
    }
}
