//! Whether every program of an image finds its loader and its libraries inside the image, those of
//! its own C library.

use std::collections::BTreeSet;

use miette::Diagnostic;

use super::{ElfFile, Libc, Tree, TreeNode};

/// A program that would not start.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Unstartable {
    #[error("{program} (from {origin}) needs {library}, which is not in the image")]
    #[diagnostic(help(
        "add the package that has it to `packages` in appliance.toml, or leave the program out"
    ))]
    Missing {
        /// The program, or a library that it needs.
        program: String,
        origin: String,
        library: String,
    },
    /// What its loader finds first is for programs of another kind.
    #[error("{program} (from {origin}) is for {libc}, and finds {path}, which is for {other}")]
    #[diagnostic(help("leave out the package that has {path}, or the program"))]
    Foreign {
        /// The program, or a library that it needs.
        program: String,
        origin: String,
        libc: Libc,
        path: String,
        /// What that one is for.
        other: String,
    },
    /// It is started by something that is neither.
    #[error("{program} (from {origin}) is loaded by {loader}, which is not known here")]
    #[diagnostic(help("a program is static, or for musl (Alpine) or glibc (Debian)"))]
    Loader { program: String, origin: String, loader: String },
}

/// Checks all programs and libraries of `tree`.
pub fn check(tree: &Tree) -> Result<(), Unstartable> {
    let mut checked = BTreeSet::new();
    for (path, node) in tree.iter() {
        let Some(program) = node.bytes().and_then(ElfFile::parse) else { continue };
        if program.is_static() {
            continue;
        }
        if let Some(loader) = &program.interpreter {
            let (name, origin) = (path.to_owned(), node.origin.to_string());
            if !is_file(tree, loader) {
                let library = loader.clone();
                return Err(Unstartable::Missing { program: name, origin, library });
            }
            if Libc::of(&program).is_none() {
                let loader = loader.clone();
                return Err(Unstartable::Loader { program: name, origin, loader });
            }
        }
        // A library that names no C library is Alpine's: Debian's all do.
        let libc = Libc::of(&program).unwrap_or(Libc::Musl);
        walk(tree, libc, path.to_owned(), node, program, &mut checked)?;
    }
    Ok(())
}

/// Checks what the program or library at `path` is loaded with, and all that this needs in turn.
fn walk(
    tree: &Tree,
    libc: Libc,
    path: String,
    node: &TreeNode,
    program: ElfFile,
    checked: &mut BTreeSet<(Libc, String)>,
) -> Result<(), Unstartable> {
    let mut queue = vec![(path, node, program)];
    while let Some((path, node, program)) = queue.pop() {
        if !checked.insert((libc, path.clone())) {
            continue;
        }
        let here = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let own = program.folders.iter().map(|folder| folder.replace("$ORIGIN", here));
        let all = libc.folders(program.machine).into_iter().map(str::to_owned);
        let folders: Vec<_> = own.chain(all).collect();
        for library in &program.needed {
            let places = folders.iter().map(|folder| super::normal(&format!("{folder}/{library}")));
            let Some(found) = places.into_iter().find(|path| is_file(tree, path)) else {
                let (program, origin) = (path, node.origin.to_string());
                return Err(Unstartable::Missing { program, origin, library: library.clone() });
            };
            let Some(there) = tree.resolve(&found) else { continue };
            let Some(needed) = there.bytes().and_then(ElfFile::parse) else { continue };
            let other = match Libc::of(&needed) {
                Some(other) if other != libc => Some(other.to_string()),
                _ if needed.machine != program.machine => Some("another processor".into()),
                _ => None,
            };
            if let Some(other) = other {
                let (program, origin) = (path, node.origin.to_string());
                return Err(Unstartable::Foreign { program, origin, libc, path: found, other });
            }
            queue.push((found, there, needed));
        }
    }
    Ok(())
}

fn is_file(tree: &Tree, path: &str) -> bool {
    tree.resolve(path).is_some_and(|node| node.bytes().is_some())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::tree::{Because, NodeOrigin};

    /// This very test, and a library that it needs: made by the host for its own C library.
    fn host() -> (Vec<u8>, ElfFile) {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let program = ElfFile::parse(&bytes).unwrap();
        (bytes, program)
    }

    fn put(tree: &mut Tree, path: &str, bytes: &[u8]) {
        let node = TreeNode::file(bytes.to_vec(), 0o755, NodeOrigin::Generated, Because::default());
        tree.put(path, node).unwrap();
    }

    /// A tree in which it finds all but the first of its libraries.
    fn all_but_one(program: &ElfFile, bytes: &[u8]) -> Tree {
        let mut tree = Tree::default();
        put(&mut tree, "/bin/test", bytes);
        put(&mut tree, program.interpreter.as_deref().unwrap(), b"");
        for library in &program.needed[1..] {
            if tree.get(&format!("/lib/{library}")).is_none() {
                put(&mut tree, &format!("/lib/{library}"), b"");
            }
        }
        tree
    }

    #[test]
    fn names_program_and_library() {
        let (bytes, program) = host();
        let mut tree = all_but_one(&program, &bytes);
        let missing = check(&tree).unwrap_err().to_string();
        assert!(missing.starts_with("/bin/test (from the builder) needs "), "{missing}");
        assert!(missing.contains(&program.needed[0]), "{missing}");
        put(&mut tree, &format!("/usr/lib/{}", program.needed[0]), b"");
        check(&tree).unwrap();
    }

    #[test]
    fn each_loader_has_its_own_folders() {
        let (bytes, program) = host();
        // Where musl looks, but not glibc; the host has either.
        let (elsewhere, right) = match Libc::of(&program).unwrap() {
            Libc::Glibc => ("/usr/local/lib", "/lib/x86_64-linux-gnu"),
            Libc::Musl => ("/lib/x86_64-linux-gnu", "/usr/local/lib"),
        };
        let mut tree = all_but_one(&program, &bytes);
        put(&mut tree, &format!("{elsewhere}/{}", program.needed[0]), b"");
        assert!(matches!(check(&tree), Err(Unstartable::Missing { .. })));
        if program.machine == elf::abi::EM_X86_64 {
            put(&mut tree, &format!("{right}/{}", program.needed[0]), b"");
            check(&tree).unwrap();
        }
    }

    /// Made by hand: a library for 64-bit little-endian machines that needs what is named.
    pub fn library(machine: u16, needed: &str) -> Vec<u8> {
        let strings = [b"\0", needed.as_bytes(), b"\0"].concat();
        let (dynamic_at, strings_at) = (64 + 2 * 56, 64 + 2 * 56 + 4 * 16);
        let words = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0".to_vec();
        bytes.extend(machine.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        let head: Vec<u8> = words(&[0, 64, 0]);
        bytes.extend(head);
        bytes.extend(0u32.to_le_bytes());
        bytes.extend([64u16, 56, 2, 64, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
        let size = (strings_at + strings.len()) as u64;
        for (kind, at, size) in [(1u64, 0, size), (2, dynamic_at as u64, 4 * 16)] {
            let segment: Vec<u8> = words(&[kind, at, at, at, size, size, 8]);
            bytes.extend(segment);
        }
        let size = strings.len() as u64;
        let dynamic: Vec<u8> = words(&[5, strings_at as u64, 10, size, 1, 1, 0, 0]);
        bytes.extend(dynamic);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn a_library_for_the_other_one_is_refused() {
        let (bytes, program) = host();
        let own = Libc::of(&program).unwrap();
        let (mine, other) = match own {
            Libc::Glibc => ("libc.so.6", "libc.musl-x86_64.so.1"),
            Libc::Musl => ("libc.musl-x86_64.so.1", "libc.so.6"),
        };
        let with = |content: &[u8]| {
            let mut tree = all_but_one(&program, &bytes);
            put(&mut tree, &format!("/lib/{}", program.needed[0]), content);
            for name in [mine, other] {
                if tree.get(&format!("/lib/{name}")).is_none() {
                    put(&mut tree, &format!("/lib/{name}"), b"");
                }
            }
            check(&tree)
        };
        let made = library(program.machine, mine);
        assert_eq!(ElfFile::parse(&made).map(|it| it.needed), Some(vec![mine.to_owned()]));
        with(&made).unwrap();
        let foreign = with(&library(program.machine, other)).unwrap_err().to_string();
        assert!(foreign.contains(&format!("is for {own}, and finds /lib/")), "{foreign}");
        let foreign = with(&library(0x1234, mine)).unwrap_err().to_string();
        assert!(foreign.ends_with("which is for another processor"), "{foreign}");
    }
}
