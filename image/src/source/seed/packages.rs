//! Single packages, and the libraries that they need.

use std::collections::{BTreeMap, VecDeque};

use octet_appliance::nearest;

use super::{Gathered, SeedError, check_checksum, component, read_verified};
use crate::appliance_file::{ApplianceFile, nearest_hint};
use crate::seed::{Handled, Installed, InstalledPackage, Scripts, SeedDisk};
use crate::tree::{Because, NodeOrigin, TreeNode};

/// The archive of scripts has 20 kB.
const MAX_SCRIPTS: u64 = 16 << 20;

/// Takes the packages of `appliance`, and those that have the libraries they need.
pub fn gather(
    disk: &SeedDisk,
    installed: &Installed,
    appliance: &ApplianceFile,
    handled: &Handled,
    gathered: &mut Gathered,
) -> Result<(), SeedError> {
    let scripts = scripts(disk)?;
    let mut chosen: BTreeMap<&str, Because> = BTreeMap::new();
    let mut queue = VecDeque::new();
    for name in &appliance.appliance.image.packages {
        let (span, name) = (name.span(), name.get_ref().as_str());
        let package = installed.packages.get(name).ok_or_else(|| {
            let near = nearest(name, installed.packages.keys().map(String::as_str));
            let hint = nearest_hint(&near, "leave it out: the seed has no such package");
            appliance.error(span.clone(), format!("there is no package `{name}`"), hint)
        })?;
        queue.push_back((package, appliance.because(&span, "packages", name)));
    }
    let mut others = vec![];
    while let Some((package, because)) = queue.pop_front() {
        if chosen.contains_key(package.name.as_str()) {
            continue;
        }
        let kinds = scripts.of(&package.name, &package.version);
        if !kinds.is_empty() && !handled.contains(&package.name) {
            return Err(SeedError::Script {
                package: package.name.clone(),
                because: because.to_string(),
                kinds: kinds.join(", "),
            });
        }
        let mut uses = vec![];
        for need in &package.depends {
            let provider = installed.provider(need);
            if !need.starts_with("so:") {
                others.push((package, need, provider));
                continue;
            }
            let provider = provider.ok_or_else(|| SeedError::NoProvider {
                package: package.name.clone(),
                library: need.trim_start_matches("so:").to_owned(),
            })?;
            uses.push(provider.name.clone());
            queue.push_back((provider, because.then(&provider.name)));
        }
        uses.sort();
        uses.dedup();
        take(disk, package, &because, gathered)?;
        gathered.provided.components.push(component(package, &gathered.release, uses));
        chosen.insert(&package.name, because);
    }
    for (package, need, provider) in others {
        if !need.starts_with('!')
            && provider.is_none_or(|it| !chosen.contains_key(it.name.as_str()))
        {
            let note =
                format!("package {} would bring {need}; only libraries are followed", package.name);
            gathered.provided.notes.push(note);
        }
    }
    Ok(())
}

fn scripts(disk: &SeedDisk) -> Result<Scripts, SeedError> {
    let path = "/lib/apk/db/scripts.tar.gz";
    if !disk.is_file(path)? {
        return Ok(Scripts::default());
    }
    let damaged = |error: std::io::Error| SeedError::Modules(format!("{path}: {error}"));
    Scripts::parse(&disk.read(path, MAX_SCRIPTS)?).map_err(damaged)
}

fn take(
    disk: &SeedDisk,
    package: &InstalledPackage,
    because: &Because,
    gathered: &mut Gathered,
) -> Result<(), SeedError> {
    let origin =
        || NodeOrigin::Package { name: package.name.clone(), version: package.version.clone() };
    for folder in package.folders.iter().filter(|folder| folder.path != "/") {
        let node =
            TreeNode::folder(folder.mode, origin(), because.clone()).owned(folder.uid, folder.gid);
        gathered.nodes.push((folder.path.clone(), node));
    }
    for file in &package.files {
        let node = match disk.link(&file.path)? {
            Some(target) => {
                check_checksum(package, file, target.as_bytes())?;
                TreeNode::link(target, origin(), because.clone())
            }
            None => TreeNode::file(
                read_verified(disk, package, file)?,
                file.mode,
                origin(),
                because.clone(),
            ),
        };
        gathered.nodes.push((file.path.clone(), node.owned(file.uid, file.gid)));
    }
    Ok(())
}
