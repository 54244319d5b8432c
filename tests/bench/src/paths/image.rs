//! The image of the guest that is a row of nodes: what ships, with one unit besides that is all of them, and the
//! programs of others.

use std::path::{Path, PathBuf};

use miette::{Diagnostic, IntoDiagnostic};
use octet_appliance::{UNITS, UnitSource};
use serde_json::json;

use crate::altered::{PROGRAMS, change, put};
use crate::{guest, packages};
use octet_image::build::{self, CustomInitrd, Options};
use octet_image::{ElfFile, Libc, Tree, TreeNode};

/// The example of forward, and the unit that it is.
pub const CHAIN: &str = "chain";

const OTHERS: [&str; 3] = ["/usr/sbin/yggdrasil", "/usr/bin/nebula", "/usr/bin/nebula-cert"];

/// The modules that are loaded once base units run, and the one that others carry packets with.
const MODULES: &str = "/usr/lib/octet/modules";
const TUN: &str = "/tun.ko";

/// Something is not there that was unpacked.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{program} cannot be put into a guest: {what} is not in {}", folder.display())]
#[diagnostic(help(
    "remove that folder; `cargo image bench --only paths --setup` unpacks the packages again"
))]
struct Missing {
    program: &'static str,
    what: String,
    folder: PathBuf,
}

pub fn build(options: &Options) -> miette::Result<CustomInitrd> {
    let of = ["--package", "octet-forward", "--example", CHAIN];
    let program = std::fs::read(guest::compile(options.target, &of)?).into_diagnostic()?;
    let unit = include_str!("chain.toml").to_owned();
    let unit = UnitSource::parse("chain.toml".into(), unit).map_err(|error| *error)?.unit;
    let unpacked = packages::folder()?;
    build::initrd_with(options, |tree| {
        put(tree, &format!("{PROGRAMS}/{CHAIN}"), 0o755, program)?;
        for program in OTHERS {
            add(tree, &unpacked, program)?;
        }
        load_tun(tree)?;
        change(tree, UNITS, |units| {
            if let Some(units) = units.as_array_mut() {
                units.push(json!(unit));
            }
        })
    })
}

/// Puts Debian's `program` at its place, with what it needs and the image lacks: nft is Debian's, too.
fn add(tree: &mut Tree, unpacked: &Path, program: &'static str) -> miette::Result<()> {
    let read = |path: &str| std::fs::read(unpacked.join(path.trim_start_matches('/'))).ok();
    let missing = |what: &str| Missing { program, what: what.into(), folder: unpacked.into() };
    let bytes = read(program).ok_or_else(|| missing(program))?;
    let mut queue = vec![(program.to_owned(), bytes)];
    while let Some((path, bytes)) = queue.pop() {
        let needs = ElfFile::parse(&bytes).unwrap_or_default();
        put(tree, &path, 0o755, bytes)?;
        let folders = Libc::Glibc.folders(needs.machine);
        for library in &needs.needed {
            let places: Vec<_> =
                folders.iter().map(|folder| format!("{folder}/{library}")).collect();
            if places.iter().any(|place| tree.resolve(place).is_some()) {
                continue;
            }
            let found = places.into_iter().find_map(|place| Some((read(&place)?, place)));
            let (bytes, place) = found.ok_or_else(|| missing(library))?;
            queue.push((place, bytes));
        }
    }
    Ok(())
}

/// Has the kernel have devices whose packets programs carry: the module is in the image, and no unit asks for it.
fn load_tun(tree: &mut Tree) -> miette::Result<()> {
    let module = tree.iter().map(|(path, _)| path).find(|path| path.ends_with(TUN));
    let module = module.ok_or_else(|| miette::miette!("the image has no module `tun`"))?;
    let line = format!("{module}\n");
    let mut list = tree.get(MODULES).and_then(TreeNode::bytes).unwrap_or_default().to_vec();
    list.extend(line.into_bytes());
    put(tree, MODULES, 0o644, list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_such_as_the_language_allows() {
        let text = include_str!("chain.toml").to_owned();
        let unit = UnitSource::parse("chain.toml".into(), text).unwrap().unit;
        assert_eq!(unit.name.as_str(), CHAIN);
    }

    #[test]
    fn a_program_brings_what_the_image_lacks() {
        let unpacked = tempfile::tempdir().unwrap();
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = ElfFile::parse(&own).unwrap();
        let folder = Libc::Glibc.folders(needs.machine)[0];
        let place = |path: &str| unpacked.path().join(&path[1..]);
        for path in [OTHERS[0], folder] {
            std::fs::create_dir_all(place(path).parent().unwrap()).unwrap();
        }
        std::fs::create_dir(place(folder)).unwrap();
        std::fs::write(place(OTHERS[0]), &own).unwrap();
        let [there, missing @ ..] = needs.needed.as_slice() else { panic!("{needs:?}") };
        let there = format!("{folder}/{there}");
        let mut tree = Tree::default();
        put(&mut tree, &there, 0o644, b"the image's".into()).unwrap();
        if let [first, ..] = missing {
            let error = add(&mut tree, unpacked.path(), OTHERS[0]).unwrap_err().to_string();
            assert!(error.contains(first), "{error}");
        }
        for library in missing {
            std::fs::write(place(&format!("{folder}/{library}")), "unpacked").unwrap();
        }
        add(&mut tree, unpacked.path(), OTHERS[0]).unwrap();
        let bytes = |path: &str| tree.get(path).unwrap().bytes().unwrap().to_vec();
        assert_eq!(bytes(&there), b"the image's");
        assert!(missing.iter().all(|it| bytes(&format!("{folder}/{it}")) == b"unpacked"));
        assert_eq!(bytes(OTHERS[0]), own);
    }

    #[test]
    fn tun_is_loaded_last() {
        let mut tree = Tree::default();
        put(&mut tree, MODULES, 0o644, b"/lib/modules/a.ko\n".into()).unwrap();
        assert!(load_tun(&mut tree).is_err());
        put(&mut tree, "/lib/modules/6/net/tun.ko", 0o644, vec![]).unwrap();
        load_tun(&mut tree).unwrap();
        let list = tree.get(MODULES).unwrap().bytes().unwrap();
        assert_eq!(list, b"/lib/modules/a.ko\n/lib/modules/6/net/tun.ko\n");
    }
}
