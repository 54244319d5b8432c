//! From the tree to the files of `out/<target>/`.

use std::path::Path;

use miette::IntoDiagnostic;
use serde::Serialize;

use super::compose::Composed;
use super::inputs::Inputs;
use crate::digest::Sha256;
use crate::output::manifest::Manifest;
use crate::output::{file, initrd, sbom, squashfs, sums};
use crate::steps::Steps;
use crate::tree::Node;

/// Writes the image into `folder`. `SHA256SUMS` goes first and comes last: while it is not there,
/// nobody takes the folder for an image.
pub fn write(
    inputs: &Inputs,
    composed: &Composed,
    folder: &Path,
    cache: &Path,
    steps: &Steps,
) -> miette::Result<()> {
    let epoch = inputs.lock.content.epoch;
    let version = env!("CARGO_PKG_VERSION");
    let step = steps.start("squashfs", "compressing");
    let kept = cache.join(format!("{}.blocks", inputs.target));
    let squashfs = squashfs::build(&composed.tree, epoch, &kept, &step)?;
    step.done(&megabytes(squashfs.len()));

    let step = steps.start("image", "writing");
    let early: Vec<_> = composed.early.iter().filter_map(|path| early(composed, path)).collect();
    let parts = initrd::Parts { init: &composed.init, early: &early, squashfs: &squashfs };
    let (initrd, entries) = initrd::build(&parts);
    let manifest = Manifest::new(inputs.target, version, epoch, &composed.tree, &entries);
    let name = inputs.appliance.appliance.appliance.name.as_str();
    let subject = sbom::Subject {
        name,
        version,
        target: inputs.target,
        epoch,
        content: composed.tree.digest(),
    };
    let files = [
        ("boot/initrd", initrd),
        ("boot/linux", composed.linux.clone()),
        ("manifest.json", json(&manifest)?),
        ("sbom.spdx.json", json(&sbom::render(&subject, &composed.components))?),
    ];
    file::remove(&folder.join(sums::NAME))?;
    let mut list = vec![];
    for (name, content) in &files {
        file::write(&folder.join(name), content)?;
        list.push((*name, Sha256::of(content)));
    }
    file::write(&folder.join(sums::NAME), sums::render(&list).as_bytes())?;
    let sizes: Vec<_> =
        files[..2].iter().map(|(name, it)| format!("{name} {}", megabytes(it.len()))).collect();
    step.done(&format!("{}: {}", folder.display(), sizes.join(", ")));
    Ok(())
}

/// A module by its name.
fn early<'a>(composed: &'a Composed, path: &str) -> Option<(String, &'a Node)> {
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".ko").to_owned();
    composed.tree.get(path).map(|node| (name, node))
}

fn json(value: &impl Serialize) -> miette::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).into_diagnostic()?;
    text.push(b'\n');
    Ok(text)
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
