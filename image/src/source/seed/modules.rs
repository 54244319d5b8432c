//! Kernel modules, unpacked, with a `modules.dep` of exactly those.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;
use octet_appliance::nearest;

use super::{Gathered, MOST, NamedModule, SeedError, component, verified};
use crate::appliance_file::nearest_hint;
use crate::seed::{Disk, Installed, Modules, Package, file_name};
use crate::tree::{Because, Node, Origin};

/// What PID 1 needs before there is a root file system.
const EARLY: [&str; 2] = ["loop", "squashfs"];

/// Takes the modules that are `named`, those before the root, and what all of them need.
pub fn gather(
    disk: &Disk,
    installed: &Installed,
    named: &[NamedModule],
    gathered: &mut Gathered,
) -> Result<(), SeedError> {
    let releases = disk.names("/lib/modules")?;
    let [release] = &releases[..] else {
        return Err(SeedError::Modules(format!(
            "one kernel is expected, there are {}",
            releases.len()
        )));
    };
    let folder = format!("/lib/modules/{release}");
    let package = owner(installed, &format!("{folder}/modules.builtin"))?;
    let builtin = disk.text(&format!("{folder}/modules.builtin"), MOST)?;
    let modules = Modules::parse(
        &disk.text(&format!("{folder}/modules.dep"), MOST)?,
        &builtin,
        &disk.text(&format!("{folder}/modules.softdep"), MOST)?,
    );

    let mut reasons: BTreeMap<String, Because> = BTreeMap::new();
    let mut order = vec![];
    for name in EARLY {
        let because = Because::always("the root file system needs it");
        if !modules.contains(name) && !modules.is_builtin(name) {
            return Err(SeedError::Modules(format!("there is no `{name}`, which starting needs")));
        }
        load(&modules, name, &because, &mut order, &mut reasons);
    }
    gathered.taken.early = order.len();
    let mut loaded = order.len();
    for named in named {
        let name = &named.name;
        if modules.is_builtin(name) {
            gathered.taken.notes.push(format!("module {name} is built into the kernel"));
        } else if modules.contains(name) {
            load(&modules, name, &named.because, &mut order, &mut reasons);
        } else {
            let near = nearest(name, modules.names());
            let hint = nearest_hint(&near, "leave it out: the kernel has no such module");
            return Err(named.error(format!("there is no kernel module `{name}`"), hint).into());
        }
        if named.loaded {
            loaded = order.len();
        }
    }

    let entries: BTreeMap<_, _> =
        package.files.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let origin =
        || Origin::Package { name: package.name.clone(), version: package.version.clone() };
    for (place, name) in order.iter().enumerate() {
        let packed = format!("{folder}/{}", modules.path(name));
        let entry = entries.get(packed.as_str()).ok_or_else(|| {
            SeedError::Modules(format!("{packed} belongs to no package, so it cannot be checked"))
        })?;
        let bytes = unpack(verified(disk, package, entry)?, &packed)?;
        let path = format!("{folder}/{}", file_name(modules.path(name)));
        let because = reasons.get(name).cloned().unwrap_or_default();
        gathered.nodes.push((path.clone(), Node::file(bytes, 0o644, origin(), because)));
        if place < loaded {
            gathered.taken.modules.push(path);
        }
    }
    let always = || Because::always("loading modules needs it");
    let dep = Node::file(modules.dep_file(&order).into_bytes(), 0o644, Origin::Generated, always());
    gathered.nodes.push((format!("{folder}/modules.dep"), dep));
    let builtin = Node::file(builtin.into_bytes(), 0o644, origin(), always());
    gathered.nodes.push((format!("{folder}/modules.builtin"), builtin));
    gathered.taken.components.push(component(package, vec![]));
    Ok(())
}

/// Adds `name` with what it needs to `order`, and the reason for each that is new.
fn load(
    modules: &Modules,
    name: &str,
    because: &Because,
    order: &mut Vec<String>,
    reasons: &mut BTreeMap<String, Because>,
) {
    modules.load(name, order, &mut |found, wanted_by| {
        let reason = match wanted_by {
            None => because.clone(),
            Some(by) => reasons.get(by).unwrap_or(because).then(found),
        };
        reasons.insert(found.to_owned(), reason);
    });
    // Another module may have brought it before: that it is asked for by name counts more.
    reasons.insert(name.to_owned(), because.clone());
}

/// The package that has the file at `path`: the kernel's.
fn owner<'a>(installed: &'a Installed, path: &str) -> Result<&'a Package, SeedError> {
    let mut packages = installed.packages.values();
    packages
        .find(|package| package.files.iter().any(|entry| entry.path == path))
        .ok_or_else(|| SeedError::Modules(format!("{path} belongs to no package")))
}

/// The kernel cannot decompress modules itself, so they are unpacked here.
fn unpack(bytes: Vec<u8>, path: &str) -> Result<Vec<u8>, SeedError> {
    if !path.ends_with(".gz") {
        return Ok(bytes);
    }
    let mut unpacked = vec![];
    GzDecoder::new(&bytes[..])
        .take(MOST)
        .read_to_end(&mut unpacked)
        .map_err(|error| SeedError::Modules(format!("{path}: {error}")))?;
    Ok(unpacked)
}
