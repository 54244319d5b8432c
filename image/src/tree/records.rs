//! What apk and dpkg keep of the packages that are in an image, where programs look for it that
//! read an image without running it.

use super::{Because, Clash, NodeContent, NodeOrigin, Tree, TreeNode};

/// apk's database: a record of each package, an empty line behind each.
const INSTALLED: &str = "/lib/apk/db/installed";

/// The packages that somebody has asked for. apk reads no database without it.
const WORLD: &str = "/etc/apk/world";

/// A control file of each Debian package: where dpkg does not run, nothing is kept in one file.
const STATUS: &str = "/var/lib/dpkg/status.d";

/// What is kept of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageRecord {
    pub name: String,
    pub version: String,
    pub text: RecordText,
}

/// A record as its distribution made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordText {
    /// A record of apk's database, without the empty line.
    Apk(String),
    Dpkg {
        control: String,
        /// The MD5 of each file, where the package has them.
        md5sums: String,
    },
}

/// Puts the `records` into `tree`, whose packages' files are all there, and that somebody has asked
/// for the Alpine packages `world`. A record names files only that are in the tree; every other
/// line is as it was.
pub fn put(tree: &mut Tree, records: &[PackageRecord], world: &[&str]) -> Result<(), Clash> {
    let mut installed = String::new();
    let mut files = vec![];
    for record in records {
        let origin =
            NodeOrigin::Package { name: record.name.clone(), version: record.version.clone() };
        match &record.text {
            RecordText::Apk(text) => installed += &format!("{}\n", apk(tree, &origin, text)),
            RecordText::Dpkg { control, md5sums } => {
                let because = "scanners find here what is of Debian's package";
                let because = Because::always(format!("{because} {}", record.name));
                let path = format!("{STATUS}/{}", record.name);
                let sums = filter_md5sums(tree, &origin, md5sums);
                if !sums.is_empty() {
                    files.push((format!("{path}.md5sums"), sums, because.clone()));
                }
                files.push((path, control.clone(), because));
            }
        }
    }
    let because = Because::always("scanners, and apk, find here which Alpine packages there are");
    files.push((INSTALLED.into(), installed, because));
    let mut world: Vec<_> = world.iter().map(|name| format!("{name}\n")).collect();
    world.sort();
    let because =
        Because::always("apk reads no database without this list: `packages` of appliance.toml");
    files.push((WORLD.into(), world.concat(), because));
    for (path, text, because) in files {
        tree.put(&path, TreeNode::file(text.into_bytes(), 0o644, NodeOrigin::Generated, because))?;
    }
    Ok(())
}

/// The record `text` of a package whose files have this `origin` (apk-package(5)).
fn apk(tree: &Tree, origin: &NodeOrigin, text: &str) -> String {
    let (mut folder, mut has_folder, mut has_file) = ("", true, true);
    let mut left = String::new();
    for line in text.lines() {
        let is_left = match line.split_once(':') {
            Some(("F", path)) => {
                folder = path;
                has_folder = path.is_empty() || is_folder(tree, path);
                has_folder
            }
            Some(("M", _)) => has_folder,
            Some(("R", name)) => {
                has_file = owns(tree, origin, &format!("{folder}/{name}"));
                has_file
            }
            Some(("a" | "Z", _)) => has_file,
            _ => true,
        };
        if is_left {
            left += line;
            left.push('\n');
        }
    }
    left
}

fn is_folder(tree: &Tree, path: &str) -> bool {
    tree.get(&format!("/{path}")).is_some_and(|node| matches!(node.content, NodeContent::Folder))
}

/// The lines of `md5sums` (deb-md5sums(5)) for files that have this `origin`.
fn filter_md5sums(tree: &Tree, origin: &NodeOrigin, md5sums: &str) -> String {
    let is_left =
        |line: &&str| line.split_once("  ").is_some_and(|(_, path)| owns(tree, origin, path));
    md5sums.lines().filter(is_left).map(|line| format!("{line}\n")).collect()
}

/// Whether the file at `path` is of the package `origin`, or instead of one of its.
fn owns(tree: &Tree, origin: &NodeOrigin, path: &str) -> bool {
    let node = tree.get(&format!("/{}", path.trim_start_matches('/')));
    node.is_some_and(|node| {
        let of_it = node.origin == *origin || node.replaced.as_deref() == Some(origin);
        of_it && !matches!(node.content, NodeContent::Folder)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn package(name: &str) -> NodeOrigin {
        NodeOrigin::Package { name: name.into(), version: "1".into() }
    }

    /// A package of which one file is there, one is an overlay's, one is the builder's, and one is
    /// left out, with its folder.
    fn tree() -> Tree {
        let mut tree = Tree::default();
        let file = |origin| TreeNode::file(b"x".to_vec(), 0o644, origin, Because::default());
        tree.put("/lib/m/kept", file(package("one"))).unwrap();
        tree.put("/lib/m/over", file(package("one"))).unwrap();
        tree.put("/lib/m/made", file(NodeOrigin::Generated)).unwrap();
        tree.put("/top", file(package("one"))).unwrap();
        tree.put("/lib/m/other", file(package("two"))).unwrap();
        let overlay = NodeOrigin::Overlay { file: "overlays/common/lib/m/over".into() };
        tree.overlay("/lib/m/over", file(overlay)).unwrap();
        tree
    }

    fn record(name: &str, text: RecordText) -> PackageRecord {
        PackageRecord { name: name.into(), version: "1".into(), text }
    }

    fn text<'a>(tree: &'a Tree, path: &str) -> &'a str {
        str::from_utf8(tree.get(path).unwrap().bytes().unwrap()).unwrap()
    }

    #[test]
    fn records_name_what_is_there_and_are_as_they_were_else() {
        let whole = "C:Q1x=\nP:one\nV:1\nI:7\nD:so:x.so.1\nF:\nR:top\nZ:Q1t=\nF:boot\nM:0:0:700\nR:gone\n\
            a:0:0:600\nZ:Q1g=\nF:lib\nF:lib/m\nM:0:0:755\nR:gone\na:0:0:755\nZ:Q1h=\nR:kept\n\
            a:0:0:600\nZ:Q1k=\nR:made\nZ:Q1m=\nR:other\nZ:Q1n=\nR:over\nZ:Q1o=\ns:tag";
        let left = "C:Q1x=\nP:one\nV:1\nI:7\nD:so:x.so.1\nF:\nR:top\nZ:Q1t=\nF:lib\nF:lib/m\nM:0:0:755\n\
            R:kept\na:0:0:600\nZ:Q1k=\nR:over\nZ:Q1o=\ns:tag\n\n";
        let two = "P:two\nV:1\nF:lib/m\nR:other\nZ:Q1p=";
        let records = [("one", whole), ("two", two)]
            .map(|(name, text)| record(name, RecordText::Apk(text.into())));
        let mut tree = tree();
        put(&mut tree, &records, &["two", "one"]).unwrap();
        assert_eq!(text(&tree, INSTALLED), format!("{left}{two}\n\n"));
        assert_eq!(text(&tree, WORLD), "one\ntwo\n");
        assert!(put(&mut tree, &records, &[]).is_err(), "it is there twice");
    }

    #[test]
    fn debian_packages_have_a_file_each() {
        let control = "Package: one\nVersion: 1\nDescription: it\n of one\n";
        let md5sums = "0a  lib/m/gone\n0b  lib/m/kept\n0c  lib/m/other\n0d  top\n".to_owned();
        let mut tree = tree();
        let dpkg = RecordText::Dpkg { control: control.into(), md5sums };
        put(&mut tree, &[record("one", dpkg)], &[]).unwrap();
        assert_eq!(text(&tree, "/var/lib/dpkg/status.d/one"), control);
        let sums = text(&tree, "/var/lib/dpkg/status.d/one.md5sums");
        assert_eq!(sums, "0b  lib/m/kept\n0d  top\n");
        let because = &tree.get("/var/lib/dpkg/status.d/one").unwrap().because;
        assert!(because.to_string().ends_with("Debian's package one"), "{because}");
    }

    proptest! {
        #[test]
        fn never_panics(lines in prop::collection::vec("[PVFRMaZ]:\\PC{0,20}", 0..20)) {
            let _ = apk(&tree(), &package("one"), &lines.join("\n"));
            let _ = filter_md5sums(&tree(), &package("one"), &lines.join("  "));
        }
    }
}
