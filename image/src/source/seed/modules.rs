//! The kernel modules of the seed, unpacked.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::GzDecoder;

use super::{Gathered, MAX_FILE, SeedError, component, read_verified};
use crate::seed::{Installed, InstalledPackage, Modules, SeedDisk};
use crate::source::kernel::{KernelModules, NamedModule};
use crate::target::Target;
use crate::tree::NodeOrigin;

/// Takes the modules that are `requested`, and those that every image for `target` has.
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
    let origin =
        NodeOrigin::Package { name: package.name.clone(), version: package.version.clone() };
    let kernel = KernelModules { folder, origin, modules, builtin };
    let entries: BTreeMap<_, _> =
        package.files.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let read = |path: &str| {
        let entry = entries.get(path).ok_or_else(|| {
            SeedError::Modules(format!("{path} belongs to no package, so it cannot be checked"))
        })?;
        unpack(read_verified(disk, package, entry)?, path)
    };
    let nodes = kernel.gather(target, requested, read, &mut gathered.provided)?;
    gathered.nodes.extend(nodes);
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
