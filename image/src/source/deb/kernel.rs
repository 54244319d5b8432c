//! Debian's kernel. Its package has no `modules.dep`: depmod(8) would make that where it is installed. So what a
//! module depends on is read from the module itself (`.modinfo`).

use std::collections::{BTreeMap, BTreeSet};

use elf::ElfBytes;
use elf::endian::AnyEndian;

use super::DebError;
use super::archive::DebPackage;
use crate::seed::{Modules, module_name};
use crate::source::Provided;
use crate::source::kernel::{KernelModules, NamedModule};
use crate::target::Target;
use crate::tree::TreeNode;

/// Where the package has the kernel, and its modules.
const KERNEL: &str = "/boot/vmlinuz-";
const MODULES: &str = "/lib/modules/";

/// Where it has device trees, behind that the release and the name that U-Boot has in `fdtfile`.
pub const DEVICE_TREES: &str = "/usr/lib/linux-image-";

/// Kernels before 6.2 have the named counters of nf_tables in a module of their own.
const NAMED_OBJECTS: &str = "softdep nf_tables post: nft_objref\n";

/// Takes the modules that are `requested`, and those that every image for `target` has.
pub fn gather(
    (name, package): &(String, DebPackage),
    target: Target,
    requested: &[NamedModule],
    provided: &mut Provided,
) -> Result<Vec<(String, TreeNode)>, DebError> {
    let no_file = |path: String| DebError::NoFile { path, target };
    let release = release(package).ok_or_else(|| no_file(format!("{KERNEL}VERSION")))?;
    let folder = format!("{MODULES}{release}");
    let builtin = format!("{folder}/modules.builtin");
    let builtin = package.file(&builtin).ok_or_else(|| no_file(builtin.clone()))?;
    let builtin = String::from_utf8_lossy(builtin).into_owned();
    let inside = format!("{folder}/");
    let files = package.files_below(&inside).filter(|(path, _)| path.ends_with(".ko"));
    let files = files.map(|(path, bytes)| (&path[inside.len()..], module_information(bytes)));
    let modules = modules(&files.collect(), &builtin);
    let kernel = KernelModules { folder, origin: package.origin(name), modules, builtin };
    let read =
        |path: &str| package.file(path).map(<[u8]>::to_vec).ok_or_else(|| no_file(path.to_owned()));
    kernel.gather(target, requested, read, provided)
}

/// The kernel, as UEFI starts it.
pub fn linux(package: &DebPackage) -> Option<&[u8]> {
    package.file(&format!("{KERNEL}{}", release(package)?))
}

/// The device trees of the boards that an image is for.
pub fn device_trees(package: &DebPackage) -> BTreeMap<&str, &[u8]> {
    let Some(release) = release(package) else { return BTreeMap::new() };
    let folder = format!("{DEVICE_TREES}{release}/");
    let files = package.files_below(&folder);
    let named = files.filter_map(|(path, bytes)| Some((path.get(folder.len()..)?, bytes)));
    named.filter(|(name, _)| is_of_board(name)).collect()
}

/// Whether the device tree is that of a board with an Allwinner H5 or A64 or one like them, or of a Raspberry Pi.
fn is_of_board(name: &str) -> bool {
    let allwinner = name.starts_with("allwinner/sun50i-");
    let raspberry = name.starts_with("broadcom/bcm2") && name.contains("-rpi-");
    (allwinner || raspberry) && name.ends_with(".dtb")
}

/// The kernel's release, such as `6.1.0-57-arm64`.
fn release(package: &DebPackage) -> Option<&str> {
    package.files_below(KERNEL).find_map(|(path, _)| path.strip_prefix(KERNEL))
}

/// What a module says of itself: each `key=value` of the section `.modinfo` (include/linux/moduleinfo.h and
/// moduleparam.h of the kernel). A file that is not understood says nothing.
fn module_information(bytes: &[u8]) -> Vec<(String, String)> {
    let find = || {
        let file = ElfBytes::<AnyEndian>::minimal_parse(bytes).ok()?;
        let section = file.section_header_by_name(".modinfo").ok()??;
        Some(file.section_data(&section).ok()?.0)
    };
    let texts = find().unwrap_or_default().split(|byte| *byte == 0);
    let pair = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    texts.filter_map(pair).collect()
}

/// The modules in `files`, each with what it says of itself, in the form that depmod(8) gives them.
fn modules(files: &BTreeMap<&str, Vec<(String, String)>>, builtin: &str) -> Modules {
    let (mut softdep, mut aliases) = (NAMED_OBJECTS.to_owned(), String::new());
    let mut depends = BTreeMap::new();
    for (path, information) in files {
        let name = module_name(path);
        let all = |key: &'static str| {
            information.iter().filter(move |(it, _)| it == key).map(|(_, value)| value.as_str())
        };
        let needs = all("depends").flat_map(|names| names.split(','));
        let needs = needs.filter(|need| !need.is_empty()).map(module_name);
        depends.insert(name.clone(), (*path, needs.collect::<Vec<_>>()));
        softdep.extend(all("softdep").map(|words| format!("softdep {name} {words}\n")));
        let plain = all("alias").filter(|alias| !alias.contains(['*', '?', '[', ' ']));
        aliases.extend(plain.map(|alias| format!("alias {alias} {name}\n")));
    }
    let mut dep = String::new();
    for (name, (path, _)) in &depends {
        let mut needed = vec![];
        add_needed(name, &depends, &mut BTreeSet::new(), &mut needed);
        // modprobe(8) loads what stands behind first, and follows no other line.
        let needed = needed.iter().rev().filter(|it| *it != name);
        let needed = needed.filter_map(|it| Some(format!(" {}", depends.get(it)?.0)));
        dep += &format!("{path}:{}\n", needed.collect::<String>());
    }
    Modules::parse(&dep, builtin, &softdep).with_aliases(&aliases)
}

/// Adds what the module `name` needs to `needed`, each after what it needs itself, and `name` as the last one.
fn add_needed(
    name: &str,
    depends: &BTreeMap<String, (&str, Vec<String>)>,
    seen: &mut BTreeSet<String>,
    needed: &mut Vec<String>,
) {
    // It is marked before what it needs is followed: a circle, which only a damaged file can have, ends.
    let Some((_, needs)) = depends.get(name).filter(|_| seen.insert(name.to_owned())) else {
        return;
    };
    needs.iter().for_each(|need| add_needed(need, depends, seen, needed));
    needed.push(name.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn says(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn modules_say_what_they_need() {
        let files = BTreeMap::from([
            (
                "kernel/fs/ext4.ko",
                says(&[("depends", "jbd2,mb-cache"), ("softdep", "pre: crypto-crc32c")]),
            ),
            ("kernel/fs/jbd2.ko", says(&[("depends", "")])),
            ("kernel/fs/mb-cache.ko", says(&[("depends", "jbd2"), ("alias", "pci:v*")])),
            ("kernel/crypto/crc32c_generic.ko", says(&[("alias", "crypto-crc32c")])),
        ]);
        let modules = modules(&files, "kernel/a/built-in.ko\n");
        let mut order = vec![];
        modules.load("ext4", &mut order, &mut |_, _| {});
        assert_eq!(order, ["crc32c_generic", "jbd2", "mb_cache", "ext4"]);
        assert!(modules.is_builtin("built_in"));
        // modprobe(8) follows the line of a module alone: it has all that the module needs.
        let dep = modules.dep_file(&order);
        let line = dep.lines().find(|line| line.starts_with("kernel/fs/ext4.ko")).unwrap();
        assert_eq!(line, "kernel/fs/ext4.ko: kernel/fs/mb-cache.ko kernel/fs/jbd2.ko");
    }

    #[test]
    fn trees_of_boards() {
        let is_it = ["allwinner/sun50i-h5-nanopi-neo2.dtb", "broadcom/bcm2711-rpi-4-b.dtb"];
        assert!(is_it.into_iter().all(is_of_board));
        let is_not = [
            "allwinner/sun50i-h5-nanopi-neo2.dtbo",
            "allwinner/sun8i-h3.dtb",
            "broadcom/bcm4908/x-rpi-.dtb",
            "broadcom/bcm2711-x.dtb",
            "qcom/sun50i-x.dtb",
        ];
        assert!(!is_not.into_iter().any(is_of_board));
    }

    /// A relocatable file with the section `.modinfo` alone (ELF gABI).
    fn module(modinfo: &[u8]) -> Vec<u8> {
        const NAMES: &[u8] = b"\0.modinfo\0.shstrtab\0";
        let section = |name: u32, kind: u32, at: usize, size: usize| {
            let mut header = [name.to_le_bytes(), kind.to_le_bytes()].concat();
            header.extend([0; 16]);
            header.extend((at as u64).to_le_bytes());
            header.extend((size as u64).to_le_bytes());
            header.resize(64, 0);
            header
        };
        let (names_at, modinfo_at) = (64, 64 + NAMES.len());
        let sections_at = modinfo_at + modinfo.len();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([1, 0, 183, 0, 1, 0, 0, 0]);
        file.extend([0; 16]);
        file.extend((sections_at as u64).to_le_bytes());
        file.extend([0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 64, 0, 3, 0, 2, 0]);
        file.extend(NAMES);
        file.extend(modinfo);
        file.extend(section(0, 0, 0, 0));
        file.extend(section(1, 1, modinfo_at, modinfo.len()));
        file.extend(section(10, 3, names_at, NAMES.len()));
        file
    }

    #[test]
    fn a_module_is_read() {
        let bytes = module(b"license=GPL\0depends=a,b\0");
        assert_eq!(module_information(&bytes), says(&[("license", "GPL"), ("depends", "a,b")]));
        assert!(module_information(b"no module").is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = module_information(&bytes);
            let _ = module_information(&[b"\x7fELF\x02\x01\x01", &bytes[..]].concat());
        }
    }
}
