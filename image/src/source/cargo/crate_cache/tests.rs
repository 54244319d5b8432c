//! Clones of a workspace of two crates, which use a library with a build script and a macro of a registry: one in a folder,
//! so that no network is needed.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::process::{Command, Stdio};
use std::time::Duration;

use cargo_metadata::Message;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::source::cargo::crates::checksums;

/// A registry, a home of cargo's that uses it, and a store.
struct World {
    folder: TempDir,
    home: PathBuf,
    steps: Steps,
}

struct Clone<'a> {
    world: &'a World,
    root: PathBuf,
    target: PathBuf,
}

/// What cargo has compiled, as opposed to found compiled: of the registry and of the workspace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Compiled {
    registry: BTreeSet<String>,
    own: BTreeSet<String>,
}

/// The value that the library's build script writes.
const VALUE: &str = "forty-two";

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { home: folder.path().join("home"), folder, steps: Steps::new() };
        world.publish("maker", "[lib]\nproc-macro = true\n", &[(
            "src/lib.rs",
            "use proc_macro::TokenStream;\n#[proc_macro]\npub fn made(_: TokenStream) -> TokenStream \
             { \"\\\"made by a macro\\\"\".parse().unwrap() }\n",
        )]);
        let script = format!(
            "fn main() {{ let out = std::env::var(\"OUT_DIR\").unwrap(); \
             std::fs::write(out + \"/value\", \"{VALUE}\").unwrap(); }}\n"
        );
        world.publish(
            "library",
            "[dependencies]\nmaker = \"1\"\n",
            &[
                ("build.rs", &script),
                (
                    "src/lib.rs",
                    "pub fn said() -> [&'static str; 2] \
                 { [include_str!(concat!(env!(\"OUT_DIR\"), \"/value\")), maker::made!()] }\n",
                ),
            ],
        );
        let config = format!(
            "[source.crates-io]\nreplace-with = \"here\"\n[source.here]\nlocal-registry = \"{}\"\n",
            world.path("registry").display()
        );
        write(&world.home.join("config.toml"), &config);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts version 1.0.0 of a crate into the registry.
    fn publish(&self, name: &str, more: &str, files: &[(&str, &str)]) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n{more}"
        );
        let mut tar = tar::Builder::new(GzEncoder::new(vec![], Compression::fast()));
        for (path, text) in [("Cargo.toml", manifest.as_str())].iter().chain(files) {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(text.len() as u64);
            let path = format!("{name}-1.0.0/{path}");
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        let needs = if more.contains("maker") { "maker" } else { "" };
        let needs: Vec<_> = [needs].iter().filter(|it| !it.is_empty()).map(|it| json!({
            "name": it, "req": "^1", "features": [], "optional": false, "default_features": true,
            "target": null, "kind": "normal",
        })).collect();
        let line = json!({
            "name": name, "vers": "1.0.0", "deps": needs, "cksum": Sha256::of(&bytes).to_string(),
            "features": {}, "yanked": false,
        });
        let index = format!("registry/index/{}/{}/{name}", &name[..2], &name[2..4]);
        write(&self.path(&index), &line.to_string());
        fs::write(self.path(&format!("registry/{name}-1.0.0.crate")), bytes).unwrap();
    }

    /// A clone of the workspace, in a folder of its own.
    fn clone(&self, name: &str) -> Clone<'_> {
        let root = self.path(name);
        write(
            &root.join("Cargo.toml"),
            "[workspace]\nresolver = \"2\"\nmembers = [\"one\", \"two\"]\n",
        );
        for (package, needs, source) in [
            ("one", "library = \"1\"", "pub fn said() -> [&'static str; 2] { library::said() }\n"),
            (
                "two",
                "one = { path = \"../one\" }",
                "fn main() { println!(\"{:?}\", one::said()); }\n",
            ),
        ] {
            let manifest = format!(
                "[package]\nname = \"{package}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                 [dependencies]\n{needs}\n"
            );
            write(&root.join(package).join("Cargo.toml"), &manifest);
            let file = if package == "two" { "main.rs" } else { "lib.rs" };
            write(&root.join(package).join("src").join(file), source);
        }
        let target = root.join("target");
        let clone = Clone { world: self, root, target };
        let status = clone.cargo(&["generate-lockfile"]).status().unwrap();
        assert!(status.success());
        let status = clone.cargo(&["fetch"]).status().unwrap();
        assert!(status.success());
        clone
    }

    fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The files of the store that end like that.
    fn entries(&self) -> Vec<PathBuf> {
        let mut found = vec![];
        for part in fs::read_dir(self.store()).unwrap().map(|it| it.unwrap().path()) {
            if part.is_dir() {
                found.extend(fs::read_dir(part).unwrap().map(|it| it.unwrap().path()));
            }
        }
        found.sort();
        found
    }
}

impl Clone<'_> {
    fn cargo(&self, words: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(words).arg("--quiet").arg("--offline").arg("--manifest-path");
        command.arg(self.root.join("Cargo.toml")).env("CARGO_HOME", &self.world.home);
        for name in ["RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_TARGET_DIR"] {
            command.env_remove(name);
        }
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    /// The store, for a compiler like that.
    fn cache(&self, compiler: &str) -> CrateCache<'_> {
        let (key, checksums) = (Sha256::of(compiler.as_bytes()), checksums(&self.root).unwrap());
        let World { home, steps, .. } = self.world;
        CrateCache::new(self.world.store(), key, &self.target, home, checksums, steps)
    }

    fn restore(&self, compiler: &str) -> Restored {
        self.cache(compiler).restore()
    }

    fn keep(&self, units: &CompiledCrates) {
        self.cache("rustc 1").store(units).unwrap();
    }

    /// Builds: what was compiled, and what the program says.
    fn build(&self) -> (Compiled, CompiledCrates, String) {
        let mut child = self
            .cargo(&["build", "--message-format", "json-render-diagnostics"])
            .arg("--target-dir")
            .arg(&self.target)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut compiled, mut units) = (Compiled::default(), CompiledCrates::default());
        for message in Message::parse_stream(BufReader::new(child.stdout.take().unwrap())) {
            let message = message.unwrap();
            units.record(&self.target, &message);
            if let Message::CompilerArtifact(it) = message
                && !it.fresh
            {
                let kind = it.target.kind.first().unwrap();
                let own = it.package_id.repr.starts_with("path+");
                let list = if own { &mut compiled.own } else { &mut compiled.registry };
                list.insert(format!("{} {kind}", it.target.name));
            }
        }
        assert!(child.wait().unwrap().success());
        let said = Command::new(self.target.join("debug/two")).output().unwrap();
        (compiled, units, String::from_utf8(said.stdout).unwrap())
    }

    /// Copies from the store, builds, and keeps what was new.
    fn build_with_store(&self) -> (Restored, Compiled) {
        let restored = self.restore("rustc 1");
        let (compiled, units, said) = self.build();
        assert_eq!(said, format!("[\"{VALUE}\", \"made by a macro\"]\n"));
        self.keep(&units);
        (restored, compiled)
    }

    fn program(&self) -> Vec<u8> {
        fs::read(self.target.join("debug/two")).unwrap()
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|&it| it.to_owned()).collect()
}

fn all_of_registry() -> BTreeSet<String> {
    names(&["build-script-build custom-build", "library lib", "maker proc-macro"])
}

/// Where `bytes` has `part`.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|it| it == part)
}

#[test]
fn a_second_clone_compiles_its_own_crates_alone() {
    let world = World::new();
    let (restored, compiled) = world.clone("first").build_with_store();
    assert_eq!(restored, Restored::default());
    assert_eq!(
        compiled,
        Compiled { registry: all_of_registry(), own: names(&["one lib", "two bin"]) }
    );
    // A library, a macro, a build script and what that has made.
    assert_eq!(world.entries().len(), 4);

    // In a folder with a longer name.
    let second = world.clone("the second one/of them");
    let (restored, compiled) = second.build_with_store();
    assert_eq!((restored.copied, restored.refused), (4, vec![]));
    assert_eq!(compiled, Compiled { own: names(&["one lib", "two bin"]), ..Compiled::default() });
    // Again: nothing is copied onto what is there.
    assert_eq!(second.build_with_store(), (Restored::default(), Compiled::default()));
    assert_eq!(world.entries().len(), 4);

    // Another compiler has a part of its own.
    let third = world.clone("third");
    assert_eq!(third.restore("rustc 2"), Restored::default());
    // What was changed in the first clone is not in another one's program: it is the clone's own.
    let first = world.clone("first");
    write(&first.root.join("one/src/lib.rs"), "pub fn said() -> [&'static str; 2] { [\"\"; 2] }\n");
    assert_eq!(first.build().2, "[\"\", \"\"]\n");
    let (restored, _) = third.build_with_store();
    assert_eq!(restored.copied, 4);
    assert!(find(&third.program(), VALUE.as_bytes()).is_some());
}

#[test]
fn a_flipped_byte_is_seen_before_anything_is_run() {
    let world = World::new();
    world.clone("first").build_with_store();
    let whole: Vec<_> =
        world.entries().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    for (number, (bytes, path)) in whole.iter().enumerate() {
        // In the head, and in the contents: of the library, the macro, the script, and what it has put out.
        for at in [40, bytes.len() - 1, find(bytes, VALUE.as_bytes()).unwrap_or(bytes.len() / 2)] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(path, flipped).unwrap();
            let clone = world.clone(&format!("{number}-{at}"));
            let restored = clone.restore("rustc 1");
            let refused: Vec<_> = restored.refused.iter().map(|(path, _)| path).collect();
            assert_eq!((restored.copied, refused), (3, vec![path]));
            assert!(!path.exists());
            let listed = CachedCrate::parse(bytes).unwrap();
            assert!(!listed.head.unit.is_in(&clone.target), "{}", path.display());
        }
        // It is compiled again, by cargo's own rules.
        let (restored, compiled) = world.clone(&format!("{number}")).build_with_store();
        assert!(restored.copied == 3 && !compiled.registry.is_empty(), "{compiled:?}");
        for (bytes, path) in &whole {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn an_entry_of_another_source_is_refused() {
    let world = World::new();
    world.clone("first").build_with_store();
    let of = |name: &str| {
        let mut all = world.entries().into_iter();
        all.find(|path| path.file_name().unwrap().to_str().unwrap().contains(name)).unwrap()
    };
    // Whole, and under another's name.
    let (library, maker) = (of(".library-"), of(".maker-"));
    let kept = fs::read(&library).unwrap();
    fs::copy(&maker, &library).unwrap();
    let restored = world.clone("renamed").restore("rustc 1");
    assert_eq!(restored.refused.len(), 1, "{restored:?}");
    assert!(restored.refused[0].1.contains("another name"), "{restored:?}");
    fs::write(&library, &kept).unwrap();

    // Of a crate for which Cargo.lock has another checksum, or which it does not have.
    let clone = world.clone("relocked");
    let lock = fs::read_to_string(clone.root.join("Cargo.lock")).unwrap();
    let checksum = lock.lines().find_map(|it| it.strip_prefix("checksum = \"")).unwrap();
    let other = lock.replace(checksum.trim_end_matches('"'), &"0".repeat(64));
    fs::write(clone.root.join("Cargo.lock"), other).unwrap();
    let restored = clone.restore("rustc 1");
    assert!(restored.copied == 1 && restored.refused.len() == 3, "{restored:?}");
    assert!(restored.refused[0].1.contains("another source"), "{restored:?}");
    let (restored, _) = world.clone("again").build_with_store();
    assert_eq!(restored.copied, 1);
    let clone = world.clone("older");
    fs::write(clone.root.join("Cargo.lock"), lock.replace("1.0.0", "1.0.1")).unwrap();
    assert_eq!(clone.restore("rustc 1"), Restored::default());

    // Its sources are not any more what they were: cargo does not look.
    let source = world.home.join("registry/src");
    let registry = fs::read_dir(source).unwrap().next().unwrap().unwrap().path();
    for (file, units) in [("library-1.0.0/src/lib.rs", 2), ("maker-1.0.0/src/lib.rs", 1)] {
        let path = registry.join(file);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}// patched\n")).unwrap();
        let restored = world.clone(file).restore("rustc 1");
        assert_eq!(restored.refused.len(), units, "{restored:?}");
        assert!(restored.refused[0].1.contains("sources"), "{restored:?}");
        fs::write(&path, text).unwrap();
        world.clone(&format!("{file} again")).build_with_store();
    }
}

#[test]
fn a_store_that_others_can_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let first = world.clone("first");
    first.build_with_store();
    let mode = |mode| fs::set_permissions(world.store(), fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(fs::metadata(world.store()).unwrap().permissions().mode() & 0o777, 0o700);
    mode(0o770);
    let second = world.clone("second");
    assert_eq!(second.restore("rustc 1"), Restored::default());
    mode(0o700);
    assert_eq!(second.restore("rustc 1").copied, 4);
}

#[test]
fn clones_that_build_and_clean_at_once_get_whole_entries_or_none() {
    let world = World::new();
    let (first, others) = (world.clone("first"), [1, 2].map(|it| world.clone(&it.to_string())));
    let (_, units, _) = first.build();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                first.keep(&units);
                world.entries().iter().for_each(|path| fs::remove_file(path).unwrap());
            }
            first.keep(&units);
        });
        for clone in &others {
            scope.spawn(|| {
                for _ in 0..20 {
                    let restored = clone.restore("rustc 1");
                    assert_eq!(restored.refused, vec![]);
                    let _ = fs::remove_dir_all(&clone.target);
                }
            });
        }
    });
    let (restored, _) = others[0].build_with_store();
    assert_eq!(restored.copied, 4);
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let put = |path: &str, size: usize, age: u64| {
        write(&folder.path().join(path), &"x".repeat(size));
        let file = File::options().write(true).open(folder.path().join(path)).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    };
    put("a/1.unit", 100, 50);
    put("b/1.unit", 100, 40);
    put("b/2.unit", 100, 5);
    put("c/1.unit", 100, 20);
    let there = || {
        let all = ["a/1", "b/1", "b/2", "c/1"];
        all.map(|it| folder.path().join(it).with_extension("unit").exists())
    };
    evict(folder.path(), 3, 400).unwrap();
    assert_eq!(there(), [true; 4]);
    evict(folder.path(), 2, 300).unwrap();
    assert_eq!(there(), [false, true, true, true]);
    evict(folder.path(), 2, 299).unwrap();
    assert_eq!(there(), [false, false, true, true]);
    evict(folder.path(), 2, 0).unwrap();
    assert_eq!(there(), [false; 4]);
}
