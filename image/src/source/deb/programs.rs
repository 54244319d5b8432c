//! Single programs out of Debian packages, with the libraries that they need and nothing else of
//! the packages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::archive::{DebFile, DebFileContent, DebPackage};
use super::{DebError, NamedProgram};
use crate::seed::Handled;
use crate::target::Target;
use crate::tree::{Because, ElfFile, Libc, TreeNode, normal};

/// Links that lead to further links, at most.
const MAX_LINKS: usize = 40;

#[derive(Debug, Default)]
pub struct Gathered {
    /// Files and links, by path.
    pub nodes: BTreeMap<String, TreeNode>,
    /// The names of the packages that each package uses.
    pub uses: BTreeMap<String, BTreeSet<String>>,
}

/// Files of several packages as one tree.
struct Files<'a>(&'a [(String, DebPackage)]);

/// A file that something is loaded from, after all links.
struct Found<'a> {
    package: &'a str,
    bytes: &'a [u8],
    /// The links that lead to it, and itself.
    chain: Vec<(String, &'a str, &'a DebFile)>,
}

impl<'a> Files<'a> {
    fn entry(&self, path: &str) -> Option<(&'a str, &'a DebFile)> {
        let all = self.0.iter();
        all.filter_map(|(name, package)| Some((name.as_str(), package.entry(path)?))).next()
    }

    fn find(&self, path: &str) -> Option<Found<'a>> {
        let (mut path, mut chain) = (path.to_owned(), vec![]);
        while chain.len() < MAX_LINKS {
            let (package, entry) = self.entry(&path)?;
            chain.push((path.clone(), package, entry));
            match &entry.content {
                DebFileContent::File(bytes) => return Some(Found { package, bytes, chain }),
                DebFileContent::Link(target) if target.starts_with('/') => path = normal(target),
                DebFileContent::Link(target) => {
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    path = normal(&format!("{folder}/{target}"));
                }
            }
        }
        None
    }
}

/// Takes the programs that are `requested` out of `packages`.
pub fn gather(
    target: Target,
    packages: &[(String, DebPackage)],
    requested: &[NamedProgram],
    handled: &Handled,
) -> Result<Gathered, DebError> {
    let files = Files(packages);
    let mut gathered = Gathered::default();
    let mut queue = VecDeque::new();
    for NamedProgram { path, because } in requested {
        let found = files.find(path).ok_or_else(|| DebError::NoProgram {
            path: path.clone(),
            because: because.to_string(),
        })?;
        queue.push_back((path.clone(), found, because.clone()));
    }
    while let Some((path, found, because)) = queue.pop_front() {
        if gathered.nodes.contains_key(&path) {
            continue;
        }
        for (path, package, entry) in &found.chain {
            put(&mut gathered, packages, path, package, entry, &because, handled)?;
        }
        let Some(program) = ElfFile::parse(found.bytes) else { continue };
        let missing = |library: &str| DebError::NoLibrary {
            program: path.clone(),
            package: found.package.to_owned(),
            library: library.to_owned(),
        };
        let folders = Libc::Glibc.folders(target.elf_machine());
        let libraries = program.needed.iter().map(|name| {
            let places = folders.iter().map(|folder| format!("{folder}/{name}"));
            let is_there = |place: &String| files.find(place).is_some();
            places.into_iter().find(is_there).ok_or_else(|| missing(name))
        });
        let mut needed = libraries.collect::<Result<Vec<_>, _>>()?;
        needed.extend(program.interpreter.clone());
        for path in needed {
            let library = files.find(&path).ok_or_else(|| missing(&path))?;
            if library.package != found.package {
                let uses = gathered.uses.entry(found.package.to_owned()).or_default();
                uses.insert(library.package.to_owned());
            }
            let because = because.then(library.package);
            queue.push_back((path, library, because));
        }
    }
    Ok(gathered)
}

fn put(
    gathered: &mut Gathered,
    packages: &[(String, DebPackage)],
    path: &str,
    name: &str,
    entry: &DebFile,
    because: &Because,
    handled: &Handled,
) -> Result<(), DebError> {
    let Some((_, package)) = packages.iter().find(|(other, _)| other == name) else {
        return Ok(());
    };
    if !package.scripts().is_empty() && !handled.contains_debian(name) {
        return Err(DebError::Script {
            package: name.to_owned(),
            because: because.to_string(),
            kinds: package.scripts().join(", "),
        });
    }
    let origin = package.origin(name);
    let node = match &entry.content {
        DebFileContent::File(bytes) => {
            TreeNode::file(bytes.clone(), entry.mode, origin, because.clone())
        }
        DebFileContent::Link(target) => TreeNode::link(target.clone(), origin, because.clone()),
    };
    gathered.nodes.entry(path.to_owned()).or_insert(node.owned(entry.uid, entry.gid));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::library;

    const TARGET: Target = Target::QemuX86_64;

    fn file(needed: &str) -> DebFileContent {
        DebFileContent::File(library(TARGET.elf_machine(), needed))
    }

    /// A program that needs a library by a link, which needs glibc's.
    fn packages() -> Vec<(String, DebPackage)> {
        let link = |to: &str| DebFileContent::Link(to.into());
        let tool = [
            ("/usr/sbin/tool", file("liba.so.1")),
            ("/usr/share/doc/tool/copyright", DebFileContent::File(b"GPL".to_vec())),
        ];
        let liba = [
            ("/usr/lib/x86_64-linux-gnu/liba.so.1", link("liba.so.1.2")),
            ("/usr/lib/x86_64-linux-gnu/liba.so.1.2", file("libc.so.6")),
            ("/usr/lib/x86_64-linux-gnu/libb.so.1", file("libc.so.6")),
        ];
        let libc = [
            ("/lib/x86_64-linux-gnu/libc.so.6", file("ld-linux-x86-64.so.2")),
            (
                "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
                DebFileContent::File(b"\x7fELF".to_vec()),
            ),
        ];
        vec![
            ("tool".into(), DebPackage::made(&[], &tool)),
            ("liba1".into(), DebPackage::made(&[], &liba)),
            ("libc6".into(), DebPackage::made(&["postinst"], &libc)),
        ]
    }

    fn take(
        packages: &[(String, DebPackage)],
        path: &str,
        handled: &str,
    ) -> Result<Gathered, String> {
        let handled = Handled::parse("scripts.toml", handled).unwrap();
        let because = Because::always("debian = tool");
        let requested = [NamedProgram { path: path.to_owned(), because }];
        gather(TARGET, packages, &requested, &handled).map_err(|error| error.to_string())
    }

    const HANDLED: &str = "[handled]\n[debian]\nlibc6 = \"looked at\"\n";

    #[test]
    fn only_what_the_program_needs_is_taken() {
        let gathered = take(&packages(), "/usr/sbin/tool", HANDLED).unwrap();
        let paths: Vec<_> = gathered.nodes.keys().map(String::as_str).collect();
        let expected = [
            "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/usr/lib/x86_64-linux-gnu/liba.so.1",
            "/usr/lib/x86_64-linux-gnu/liba.so.1.2",
            "/usr/sbin/tool",
        ];
        assert_eq!(paths, expected);
        let library = &gathered.nodes["/usr/lib/x86_64-linux-gnu/liba.so.1.2"];
        assert_eq!(
            (library.mode, library.origin.to_string().as_str()),
            (0o755, "package liba1 1-2")
        );
        assert_eq!(library.because.to_string(), "debian = tool -> liba1");
        let uses = |name: &str| gathered.uses[name].iter().cloned().collect::<Vec<_>>();
        assert_eq!((uses("tool"), uses("liba1")), (vec!["liba1".into()], vec!["libc6".to_owned()]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = packages();
        let missing = take(&all[..2], "/usr/sbin/tool", HANDLED).unwrap_err();
        assert!(missing.contains("liba.so.1 of package liba1 needs libc.so.6"), "{missing}");
        let missing = take(&all, "/usr/sbin/tol", HANDLED).unwrap_err();
        assert!(missing.contains("/usr/sbin/tol (debian = tool)"), "{missing}");
        let script =
            take(&all, "/usr/sbin/tool", "[handled]\nlibc6 = \"of Alpine\"\n").unwrap_err();
        assert!(script.contains("libc6") && script.contains("(postinst)"), "{script}");
    }
}
