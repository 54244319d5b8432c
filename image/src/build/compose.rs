//! From inputs to the tree of the root file system.

use miette::IntoDiagnostic;
use octet_appliance::{APPLIANCE, LICENSES, SETTINGS};

use super::inputs::{self, BuildInputs};
use crate::appliance_file::Mistake;
use crate::digest::Sha256;
use crate::output::device_trees;
use crate::output::licenses::Licenses;
use crate::source::{Component, INIT, PackageSource, PathSource, Provided, SeedSource};
use crate::steps::Steps;
use crate::tree::{
    Because, ImageFacts, NodeOrigin, Tree, TreeNode, check_closure, generate, put_records,
};

/// What an image is made of.
pub struct Composed {
    pub tree: Tree,
    /// For the bill of materials.
    pub components: Vec<Component>,
    /// PID 1: it is in the initramfs alone, and goes on running from there.
    pub init: TreeNode,
    /// Modules that load before the root is there, by path in the tree, in that order.
    pub early: Vec<String>,
    /// The kernel, as UEFI starts it.
    pub linux: Vec<u8>,
    pub kernel: NodeOrigin,
    /// Device trees of boards, for U-Boot.
    pub dtb: Option<Vec<u8>>,
    /// The program that firmware starts, which starts the kernel, and whose it is.
    pub boot_loader: (Vec<u8>, NodeOrigin),
    /// A digest of this workspace's programs.
    pub programs: Sha256,
}

/// Composes the tree of an image that says that it is of this `version`. Mistakes in `appliance.toml` are found before
/// anything is compiled.
pub fn compose(inputs: &BuildInputs, version: &str, steps: &Steps) -> miette::Result<Composed> {
    let mut tree = Tree::default();
    let useless = inputs.appliance.unused_rules(&inputs.units).map_err(Mistake::from)?;
    useless.iter().for_each(|line| steps.warn(&format!("{line}; {}", line.hint)));
    let seed = inputs.seed(steps)?;
    let packages = SeedSource {
        qcow2: seed.join("qcow2"),
        target: inputs.target,
        appliance: inputs.appliance.clone(),
        modules: inputs.modules(),
        handled: inputs.overlays.handled.clone(),
    };
    let debian = inputs.debs(steps)?;
    let linux = match debian.linux()? {
        Some(linux) => linux,
        None => inputs::read(&seed.join("linux"))?,
    };
    let trees = debian.device_trees()?;
    let dtb = if trees.is_empty() { None } else { Some(device_trees::render(&trees)?) };
    let unpack = || inputs.unpack_tools(steps);
    let cargo = inputs.cargo(steps, &unpack);
    let owner = PathSource { units: &inputs.units };

    let mut all = Provided::default();
    let sources: [&dyn PackageSource; 4] = [&packages, &debian, &owner, &cargo];
    for source in sources {
        let step = steps.start(source.name(), &source.progress_text());
        let provided = source.add_to(&mut tree)?;
        step.done(&provided.summary);
        provided.notes.iter().for_each(|note| steps.note(note));
        all.components.extend(provided.components);
        all.records.extend(provided.records);
        all.early.extend(provided.early);
        all.first.extend(provided.first);
        all.router.extend(provided.router);
        all.modules.extend(provided.modules);
        all.disk.extend(provided.disk);
    }
    let step = steps.start("compose", "overlays, units, generated files");
    for (path, modules, because) in [
        ("/usr/lib/octet/modules.first", &all.first, "PID 1 loads these before base units"),
        ("/usr/lib/octet/modules.router", &all.router, "PID 1 of a router loads these, too"),
        ("/usr/lib/octet/modules", &all.modules, "PID 1 loads these, in this order"),
        ("/usr/lib/octet/modules.disk", &all.disk, "PID 1 loads these before it uses the flash"),
    ] {
        let list: String = modules.iter().map(|path| format!("{path}\n")).collect();
        let because = Because::always(because);
        tree.put(path, TreeNode::file(list.into_bytes(), 0o644, NodeOrigin::Generated, because))?;
    }
    // Modules are of the same package as the kernel that they are for.
    let module = all.early.iter().find_map(|path| tree.get(path));
    let kernel = module.map(|node| node.origin.clone());
    let init = tree.take(INIT).ok_or_else(|| miette::miette!("no source has made PID 1"))?;
    inputs.units.put(&mut tree, inputs.target)?;
    let appliance = &inputs.appliance.appliance;
    let settings = format!("{:#}\n", serde_json::json!(appliance));
    let because = Because::always("the box is what the file says");
    for (path, text) in [(APPLIANCE, &inputs.appliance.text), (SETTINGS, &settings)] {
        let bytes = text.clone().into_bytes();
        tree.put(path, TreeNode::file(bytes, 0o644, NodeOrigin::Generated, because.clone()))?;
    }
    let licenses = serde_json::to_vec(&Licenses::of(&all.components)).into_diagnostic()?;
    let because = Because::always("who is given a box is given them");
    tree.put(LICENSES, TreeNode::file(licenses, 0o644, NodeOrigin::Generated, because))?;
    let facts = ImageFacts {
        name: appliance.appliance.name.to_string(),
        version: version.to_owned(),
        epoch: inputs.lock.content.epoch,
        target: inputs.target,
    };
    generate(&mut tree, &facts, &Because::always("`name` of appliance.toml"))?;
    inputs.overlays.put(&mut tree)?;
    let world: Vec<_> = appliance.image.packages.iter().map(|it| it.get_ref().as_str()).collect();
    put_records(&mut tree, &all.records, &world)?;
    inputs.units.check(&tree, inputs.target).map_err(Mistake::from)?;
    check_closure(&tree)?;
    step.done(&format!("{} paths", tree.iter().count()));
    Ok(Composed {
        early: all.early,
        init,
        tree,
        components: all.components,
        linux,
        dtb,
        kernel: kernel.ok_or_else(|| miette::miette!("no source has given a module"))?,
        boot_loader: debian.boot_loader()?,
        programs: cargo.compiled()?.digest(),
    })
}
