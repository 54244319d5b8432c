//! Kernel modules, unpacked, with a `modules.dep` of exactly those.

mod selection;

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;

use self::selection::ModuleSelection;
use super::{Gathered, MAX_FILE, NamedModule, SeedError, component, read_verified};
use crate::seed::{Installed, InstalledPackage, Modules, SeedDisk, file_name};
use crate::target::Target;
use crate::tree::{Because, NodeOrigin, TreeNode};

/// Takes the modules that are `requested`, those before the root, those of the flash, and what all of
/// them need.
pub fn gather(
    disk: &SeedDisk,
    installed: &Installed,
    target: Target,
    requested: &[NamedModule],
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
    let builtin = disk.text(&format!("{folder}/modules.builtin"), MAX_FILE)?;
    let modules = Modules::parse(
        &disk.text(&format!("{folder}/modules.dep"), MAX_FILE)?,
        &builtin,
        &disk.text(&format!("{folder}/modules.softdep"), MAX_FILE)?,
    );
    let choice =
        ModuleSelection::select(&modules, target, requested, &mut gathered.provided.notes)?;

    let entries: BTreeMap<_, _> =
        package.files.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let origin =
        || NodeOrigin::Package { name: package.name.clone(), version: package.version.clone() };
    let unpacked = |name: &str| format!("{folder}/{}", file_name(modules.path(name)));
    for name in &choice.all {
        let packed = format!("{folder}/{}", modules.path(name));
        let entry = entries.get(packed.as_str()).ok_or_else(|| {
            SeedError::Modules(format!("{packed} belongs to no package, so it cannot be checked"))
        })?;
        let bytes = unpack(read_verified(disk, package, entry)?, &packed)?;
        let node = TreeNode::file(bytes, 0o644, origin(), choice.because(name));
        gathered.nodes.push((unpacked(name), node));
    }
    let paths = |names: &[String]| names.iter().map(|name| unpacked(name)).collect();
    gathered.provided.early = paths(&choice.early);
    gathered.provided.first = paths(&choice.first);
    gathered.provided.router = paths(&choice.router);
    gathered.provided.modules = paths(&choice.loaded);
    gathered.provided.disk = paths(&choice.disk);

    let always = || Because::always("loading modules needs it");
    let dep = modules.dep_file(&choice.all).into_bytes();
    let dep = TreeNode::file(dep, 0o644, NodeOrigin::Generated, always());
    gathered.nodes.push((format!("{folder}/modules.dep"), dep));
    let builtin = TreeNode::file(builtin.into_bytes(), 0o644, origin(), always());
    gathered.nodes.push((format!("{folder}/modules.builtin"), builtin));
    gathered.provided.components.push(component(package, &gathered.release, vec![]));
    Ok(())
}

/// The package that has the file at `path`: the kernel's.
fn owner<'a>(installed: &'a Installed, path: &str) -> Result<&'a InstalledPackage, SeedError> {
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
        .take(MAX_FILE)
        .read_to_end(&mut unpacked)
        .map_err(|error| SeedError::Modules(format!("{path}: {error}")))?;
    Ok(unpacked)
}
