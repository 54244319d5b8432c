//! Kernel modules: which there are, what each needs, and in which order they load.
//!
//! The files are those of depmod(8): modules.dep(5), modules.builtin, modules.softdep.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The modules of one kernel.
#[derive(Debug, Default)]
pub struct Modules {
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
    /// Further names of modules, which other modules name as what they need.
    aliases: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Module {
    /// Relative to the kernel's folder, as the seed has it (`….ko.gz`).
    path: String,
    /// Names that must be loaded before.
    needs: Vec<String>,
    /// Names that are loaded before if they exist (`pre:`).
    before: Vec<String>,
    /// Names that are loaded after if they exist (`post:`).
    after: Vec<String>,
}

/// The canonical name of the module in the file `path`.
pub fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// The path of the unpacked module: without `.gz`.
pub fn file_name(path: &str) -> &str {
    path.strip_suffix(".gz").unwrap_or(path)
}

impl Modules {
    /// Reads the three files. A line that is not understood names no module: what then lacks is
    /// found missing by name.
    pub fn parse(dep: &str, builtin: &str, softdep: &str) -> Self {
        let mut all = Self { builtin: builtin.lines().map(name).collect(), ..Self::default() };
        for line in dep.lines() {
            let Some((path, needs)) = line.split_once(':') else { continue };
            let needs = needs.split_whitespace().map(name).collect();
            all.modules
                .insert(name(path), Module { path: path.to_owned(), needs, ..Module::default() });
        }
        for line in softdep.lines() {
            let mut words = line.split_whitespace();
            if words.next() != Some("softdep") {
                continue;
            }
            let Some(module) = words.next().and_then(|word| all.modules.get_mut(&name(word)))
            else {
                continue;
            };
            let mut list = None;
            for word in words {
                match (word, &list) {
                    ("pre:", _) => list = Some(true),
                    ("post:", _) => list = Some(false),
                    (_, Some(true)) => module.before.push(name(word)),
                    (_, Some(false)) => module.after.push(name(word)),
                    (_, None) => {} // without a time, such as `softdep cifs gcm`: loaded when used
                }
            }
        }
        all
    }

    /// Adds the names in lines `alias NAME MODULE` (modules.alias of depmod(8)).
    pub fn with_aliases(mut self, text: &str) -> Self {
        let mut lines =
            text.lines().filter_map(|line| line.strip_prefix("alias ")?.split_once(' '));
        let canonical = |(alias, module): (&str, &str)| (name(alias), name(module));
        self.aliases = lines.by_ref().map(canonical).collect();
        self
    }

    /// Whether `name` is part of the kernel itself.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(name)
    }

    /// Whether `name` is a module.
    pub fn contains(&self, name: &str) -> bool {
        self.modules.contains_key(name)
    }

    /// Every name that can be asked for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().chain(&self.builtin).map(String::as_str)
    }

    /// The path of the module `name`, as the seed has it.
    pub fn path(&self, name: &str) -> &str {
        self.modules.get(name).map_or("", |module| &module.path)
    }

    /// Adds `name` and all it needs to `order`, each after what it needs, each once; `found` is
    /// told of every module that is new, and of the one that wanted it.
    pub fn load<'a>(
        &'a self,
        name: &'a str,
        order: &mut Vec<String>,
        found: &mut impl FnMut(&'a str, Option<&'a str>),
    ) {
        let mut seen: BTreeSet<String> = order.iter().cloned().collect();
        self.visit(name, None, order, &mut seen, found);
    }

    /// Names are marked before their needs are followed, so that a circle, which only a damaged
    /// file can have, ends.
    fn visit<'a>(
        &'a self,
        name: &'a str,
        wanted_by: Option<&'a str>,
        order: &mut Vec<String>,
        seen: &mut BTreeSet<String>,
        found: &mut impl FnMut(&'a str, Option<&'a str>),
    ) {
        let name = match self.aliases.get(name) {
            Some(module) if !self.modules.contains_key(name) => module,
            _ => name,
        };
        let Some(module) = self.modules.get(name) else { return };
        if !seen.insert(name.to_owned()) {
            return;
        }
        found(name, wanted_by);
        // modules.dep lists the nearest need first: the farthest has to be loaded first.
        for need in module.before.iter().chain(module.needs.iter().rev()) {
            self.visit(need, Some(name), order, seen, found);
        }
        order.push(name.to_owned());
        for after in &module.after {
            self.visit(after, Some(name), order, seen, found);
        }
    }

    /// A `modules.dep` of exactly the modules in `chosen`.
    pub fn dep_file(&self, chosen: &[String]) -> String {
        let mut lines: Vec<String> = chosen
            .iter()
            .filter_map(|name| self.modules.get(name))
            .map(|module| {
                let mut line = format!("{}:", file_name(&module.path));
                for need in &module.needs {
                    let _ = write!(line, " {}", file_name(self.path(need)));
                }
                line + "\n"
            })
            .collect();
        lines.sort();
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEP: &str = "kernel/a/nft-ct.ko.gz: kernel/a/nf.ko.gz kernel/a/nfnetlink.ko.gz\n\
        kernel/a/nf.ko.gz: kernel/a/nfnetlink.ko.gz\nkernel/a/nfnetlink.ko.gz:\nkernel/b/gso.ko.gz:\n";
    const SOFT: &str = "softdep nft_ct post: gso absent\nsoftdep x\nsoftdep nf gso\n";

    #[test]
    fn orders_and_writes() {
        let modules = Modules::parse(DEP, "kernel/virtio_pci.ko\n", SOFT);
        let mut order = vec![];
        let mut because = vec![];
        modules.load("nft_ct", &mut order, &mut |name, by| because.push((name, by)));
        assert_eq!(order, ["nfnetlink", "nf", "nft_ct", "gso"]);
        assert_eq!(because[1], ("nfnetlink", Some("nft_ct")));
        assert!(modules.is_builtin("virtio_pci") && !modules.contains("virtio_pci"));
        assert_eq!(
            modules.dep_file(&["nf".into(), "nfnetlink".into()]),
            "kernel/a/nf.ko: kernel/a/nfnetlink.ko\nkernel/a/nfnetlink.ko:\n"
        );
    }

    #[test]
    fn a_circle_ends() {
        let modules = Modules::parse("a.ko: b.ko\nb.ko: a.ko\n", "", "");
        let mut order = vec![];
        modules.load("a", &mut order, &mut |_, _| {});
        assert_eq!(order, ["b", "a"]);
    }

    proptest! {
        #[test]
        fn never_panics(dep in "([a-e]\\.ko(: ?)([a-e]\\.ko ){0,3}\n){0,6}", soft in "\\PC*") {
            let modules = Modules::parse(&dep, &soft, &format!("softdep a pre: b post: c\nsoftdep {soft}"));
            let mut order = vec![];
            for name in ["a", "b", "c", "d", "e"] {
                modules.load(name, &mut order, &mut |_, _| {});
            }
            let _ = modules.dep_file(&order);
            let mut once = order.clone();
            once.sort();
            once.dedup();
            prop_assert_eq!(once.len(), order.len());
        }
    }
}
