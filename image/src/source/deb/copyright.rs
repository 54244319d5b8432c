//! The licence of a Debian package, from its copyright file (Debian's copyright-format 1.0).

/// The licence of `Files: *`, the first words for all that no other paragraph names, as SPDX
/// spells it. What SPDX has no name for is `reference`, whose text is the file itself. A file in
/// another format is that, too, beside the GNU licence that it names first.
pub fn license(text: &str, reference: &str) -> String {
    let mut paragraphs = text.split("\n\n");
    if !paragraphs.next().is_some_and(|first| first.starts_with("Format:")) {
        return match gnu(text) {
            Some(id) => format!("{id} AND {reference}"),
            None => reference.to_owned(),
        };
    }
    paragraphs
        .find(|paragraph| field(paragraph, "Files:").is_some_and(|all| all.trim() == "*"))
        .and_then(|paragraph| expression(field(paragraph, "License:")?.lines().next()?))
        .unwrap_or_else(|| reference.to_owned())
}

/// The texts that a copyright file leaves to `/usr/share/common-licenses`, as SPDX names them.
pub fn common_licenses(text: &str) -> Vec<String> {
    let mut names: Vec<_> = text
        .split("common-licenses/")
        .skip(1)
        .map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.');
            rest[..end.unwrap_or(rest.len())].trim_end_matches('.')
        })
        .filter_map(spdx)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The value of a field, with the lines that continue it.
fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    let begin = match paragraph.trim_start_matches('\n').strip_prefix(name) {
        Some(rest) => rest,
        None => &paragraph[paragraph.find(&format!("\n{name}"))? + 1 + name.len()..],
    };
    let end = begin
        .match_indices('\n')
        .find(|(at, _)| !begin[at + 1..].starts_with([' ', '\t']))
        .map_or(begin.len(), |(at, _)| at);
    Some(&begin[..end])
}

/// Names of licences between `or` and `and`, if SPDX has all of them.
fn expression(names: &str) -> Option<String> {
    let words = names.split_whitespace().map(|word| match word {
        "or" | "and" => Some(word.to_uppercase()),
        name => spdx(name),
    });
    let expression = words.collect::<Option<Vec<_>>>()?.join(" ");
    spdx::Expression::parse(&expression).is_ok().then_some(expression)
}

/// Debian's short name of a licence as an SPDX identifier.
fn spdx(name: &str) -> Option<String> {
    if name == "Expat" {
        return Some("MIT".into());
    }
    if ["GPL-", "LGPL-", "AGPL-"].iter().any(|family| name.starts_with(family)) {
        let (number, which) = match name.strip_suffix('+') {
            Some(number) => (number, "or-later"),
            None => (name, "only"),
        };
        let dot = if number.contains('.') { "" } else { ".0" };
        let id = format!("{number}{dot}-{which}");
        return spdx::license_id(&id).map(|id| id.name.to_owned());
    }
    let mut all = spdx::identifiers::LICENSES.iter();
    all.find(|known| known.name.eq_ignore_ascii_case(name)).map(|known| known.name.to_owned())
}

/// The licence of the first words in `text` by which the GNU project applies one of its own.
fn gnu(text: &str) -> Option<String> {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let later = " of the License, or (at your option) any later version";
    let (before, _) = words.split_once(later)?;
    let (before, number) = before.rsplit_once("version ")?;
    let family = match before.rsplit_once("GNU ")?.1 {
        it if it.starts_with("Lesser ") || it.starts_with("Library ") => "LGPL",
        it if it.starts_with("General ") => "GPL",
        _ => return None,
    };
    spdx(&format!("{family}-{number}+"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = "Format: 1.0\nSource: it\n\nFiles: *\nCopyright: somebody\n else\nLicense: LGPL-2.1+\n\n\
        Files: debian/*\nCopyright: another\nLicense: Expat\n";

    #[test]
    fn the_licence_of_all_files() {
        assert_eq!(license(TEXT, "R"), "LGPL-2.1-or-later");
        for (from, to, wanted) in [
            ("Files: *", "Files:\n *", "LGPL-2.1-or-later"),
            ("Files: *", "Files: src/*", "R"),
            ("LGPL-2.1+", "GPL-2+ or LGPL-3+", "GPL-2.0-or-later OR LGPL-3.0-or-later"),
            ("LGPL-2.1+", "Expat\n words", "MIT"),
            ("LGPL-2.1+", "BSD-3-clause", "BSD-3-Clause"),
            ("LGPL-2.1+", "GPL-2", "GPL-2.0-only"),
            ("LGPL-2.1+", "GPL-3+ with Bison exception", "R"),
            ("LGPL-2.1+", "MIT/X11", "R"),
            ("LGPL-2.1+", "or", "R"),
            ("Format", "Form", "R"),
        ] {
            assert_eq!(license(&TEXT.replace(from, to), "R"), wanted, "{to}");
        }
    }

    #[test]
    fn the_licence_of_a_file_in_no_format() {
        let text = "It is free software under the GNU Lesser\n  General Public License; either\n \
            version 2.1 of the License, or (at your option) any later version.\n\n\
            See `/usr/share/common-licenses/LGPL-2.1'. Others: /usr/share/common-licenses/GPL-2.";
        assert_eq!(license(text, "R"), "LGPL-2.1-or-later AND R");
        assert_eq!(license(&text.replace("Lesser", "Least"), "R"), "R");
        assert_eq!(license("", "R"), "R");
        assert_eq!(common_licenses(text), ["GPL-2.0-only", "LGPL-2.1-only"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(Format:|Files: \\*|License:|GNU |common-licenses/|\n|\\PC{0,5}){0,20}") {
            let _ = (license(&text, "R"), common_licenses(&text));
        }
    }
}
