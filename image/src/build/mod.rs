//! `cargo image build`: from the files a person edits to files that boot.

mod compose;
pub mod fetch;
mod inputs;
mod write;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, IntoDiagnostic, WrapErr};
use octet_bundle::SlotName;

use crate::output::disk::{self, DiskContents};
use crate::output::entry::{NamedSlot, SlotProperties};
use crate::output::file;
use crate::output::sparse::Sparse;
use crate::output::squashfs::BEST_LEVEL;
use crate::output::sums;
use crate::steps::Steps;
use crate::target::Target;
use crate::tree::{NodeOrigin, Tree};
use crate::workspace::Workspace;

use self::inputs::BuildInputs;

/// What to build, and how.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// The target platform
    #[arg(long, value_enum, default_value = "qemu-x86_64")]
    pub target: Target,
    /// The appliance's settings; the lock file is the one beside it that ends in .lock, else appliance.lock
    #[arg(long, value_name = "FILE")]
    pub appliance: Option<PathBuf>,
    /// The output folder; the image is in a subfolder named for the target [default: out]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Do not use the network
    #[arg(long)]
    pub offline: bool,
    /// Fail if the toolchain or an input is not the locked one
    #[arg(long)]
    pub locked: bool,
    /// Whether it is to be there soon, rather than small and fast, and has no disk image: then it is only for a look at a
    /// change.
    #[arg(skip)]
    pub quick: bool,
    /// The builder, if another program builds with its library: images are of the builder that has made them.
    #[arg(skip)]
    pub builder: Option<PathBuf>,
}

/// An image.
#[derive(Debug, Clone)]
pub struct Built {
    /// What it is for.
    pub target: Target,
    /// Its folder, `out/<target>`.
    pub folder: PathBuf,
    /// The kernel.
    pub linux: PathBuf,
    /// The initramfs.
    pub initrd: PathBuf,
    /// The disk that has both, as it is written onto flash; a quick image has none.
    pub disk: PathBuf,
}

/// What the version of a quick image ends with, and the name of its folder.
const QUICK: &str = "quick";

/// Another toolchain than the one that is locked, with `--locked`.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("the toolchain is not the one that is locked: {}", .0.join("; "))]
#[diagnostic(help("install the locked one, or record this one: `cargo image lock`"))]
struct OtherToolchain(Vec<String>);

impl Options {
    /// The builder's program.
    pub fn builder(&self) -> &Path {
        // By this name it is the one that runs: cargo may put another in its place, if a source changes meanwhile.
        self.builder.as_deref().unwrap_or(Path::new("/proc/self/exe"))
    }

    /// The folder of the image.
    pub fn folder(&self, workspace: &Workspace) -> PathBuf {
        self.out_folder(workspace).join(self.name())
    }

    /// The name of that folder, and of what is kept from one build to the next.
    fn name(&self) -> String {
        if self.quick { format!("{}-{QUICK}", self.target) } else { self.target.to_string() }
    }

    /// Octet's version, as the image says it.
    fn version(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        if self.quick { format!("{version}-{QUICK}") } else { version.to_owned() }
    }

    fn out_folder(&self, workspace: &Workspace) -> PathBuf {
        self.out.clone().unwrap_or_else(|| workspace.root().join("out"))
    }

    /// The appliance's file, as short as the folder a person is in allows.
    pub fn appliance_file(&self, workspace: &Workspace) -> PathBuf {
        self.appliance
            .clone()
            .unwrap_or_else(|| relative_to_cwd(&workspace.root().join("appliance.toml")))
    }

    /// Its lock.
    pub fn lock_file(&self, workspace: &Workspace) -> PathBuf {
        let beside = self.appliance_file(workspace).with_extension("lock");
        if beside.is_file() {
            beside
        } else {
            relative_to_cwd(&workspace.root().join("appliance.lock"))
        }
    }
}

/// `path` without the current folder, if it is below it.
fn relative_to_cwd(path: &Path) -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

/// The workspace that the current folder is in.
pub fn workspace() -> miette::Result<Workspace> {
    let here = env::current_dir().into_diagnostic().wrap_err("where is the current folder?")?;
    Ok(Workspace::find(&here)?)
}

/// Builds the image that `options` asks for, or finds that it is there already.
pub fn build(options: &Options) -> miette::Result<Built> {
    let workspace = workspace()?;
    let steps = Steps::new();
    let step = steps.start("check", "appliance.toml, appliance.lock, units, overlays");
    let mut inputs = BuildInputs::load(&workspace, options)?;
    let differences = inputs.toolchain.differences(&inputs.lock.content.toolchain);
    if !differences.is_empty() && options.locked {
        return Err(OtherToolchain(differences).into());
    }
    step.done(&inputs.summary());
    for difference in &differences {
        steps.warn(&format!(
            "{difference}; the image's bytes will differ (`cargo image lock` records this one)"
        ));
    }

    let out = options.out_folder(&workspace);
    let folder = options.folder(&workspace);
    // Two builds do not write the same files.
    let _one_at_a_time = file::lock(&out.join("cache/.lock"), &steps)?;
    let built = Built {
        target: options.target,
        linux: folder.join("boot/linux"),
        initrd: folder.join("boot/initrd"),
        disk: folder.join("octet.img"),
        folder: folder.clone(),
    };
    fetch::fetch(&mut inputs, &options.lock_file(&workspace), options.locked, &steps)?;
    let cache = out.join("cache");
    let key_file = cache.join(format!("{}.key", options.name()));
    if let Some(compiled) = inputs.cargo(&steps, &|| inputs.unpack_tools(&steps)).current()? {
        let key = inputs.key(compiled.digest());
        let old = fs::read_to_string(&key_file).unwrap_or_default();
        if let Some((old, disk)) = old.split_once('\n')
            && old == key
            && sums::verify(&folder, disk)
        {
            steps.start("image", "").unchanged(&folder.display().to_string());
            return Ok(built);
        }
    }

    let composed = compose::compose(&inputs, &options.version(), &steps)?;
    let cache_file = cache.join(format!("{}.blocks", options.name()));
    let disk = if options.quick {
        write::quick(&inputs, &composed, &folder, &cache_file, &steps)?;
        String::new()
    } else {
        write::write(&inputs, &composed, &folder, &cache_file, &steps)?.to_string()
    };
    let key = format!("{}\n{disk}", inputs.key(composed.programs));
    file::write(&key_file, key.as_bytes())?;
    Ok(built)
}

/// Programs that no image has, compiled as those of the image that `options` asks for, with the same profile, features,
/// flags and linker. `words` are arguments of cargo's that select them.
pub fn programs_beside(options: &Options, words: &[&str]) -> miette::Result<Vec<PathBuf>> {
    let steps = Steps::new();
    let inputs = BuildInputs::load(&workspace()?, options)?;
    inputs.cargo(&steps, &|| inputs.unpack_tools(&steps)).build_programs(words)
}

/// The seed as its publisher boots it: a folder with `linux`, `initrd` and `qcow2`.
pub fn stock(options: &Options) -> miette::Result<PathBuf> {
    BuildInputs::load(&workspace()?, options)?.stock(&Steps::new())
}

/// A disk like that of an image, whose one slot has these files, and the slot's name.
pub fn disk_with(
    options: &Options,
    linux: &[u8],
    initrd: &[u8],
) -> miette::Result<(SlotName, Sparse)> {
    let inputs = BuildInputs::load(&workspace()?, options)?;
    let boot_loader = inputs.debs(&Steps::new())?.boot_loader()?;
    let (target, epoch) = (options.target, inputs.lock.content.epoch);
    let of = SlotProperties {
        target,
        version: env!("CARGO_PKG_VERSION"),
        sequence: epoch.into(),
        trial: 60,
    };
    let slot = NamedSlot::new(&of, linux, initrd, None).into_diagnostic()?;
    let (kernel, boot_loader) = (&NodeOrigin::Generated, (&boot_loader.0[..], &boot_loader.1));
    let parts = DiskContents { target, slot: &slot, kernel, boot_loader, epoch };
    let disk = disk::build(&parts).into_diagnostic()?;
    Ok((slot.manifest.slot, disk))
}

/// PID 1 with another root file system than that of the image.
pub struct CustomInitrd {
    /// Its kernel, as UEFI starts it.
    pub linux: Vec<u8>,
    /// Its initramfs.
    pub initrd: Vec<u8>,
    /// PID 1 itself, in bytes.
    pub init: usize,
}

/// The initramfs of an image whose tree `change` has changed.
pub fn initrd_with(
    options: &Options,
    change: impl FnOnce(&mut Tree) -> miette::Result<()>,
) -> miette::Result<CustomInitrd> {
    let workspace = workspace()?;
    let steps = Steps::new();
    let inputs = BuildInputs::load(&workspace, options)?;
    let mut composed = compose::compose(&inputs, &options.version(), &steps)?;
    change(&mut composed.tree)?;
    // Blocks of its own: the image's are not to be compressed anew because of this one.
    let cache_file = options.out_folder(&workspace).join("cache/other.blocks");
    let initrd =
        write::initrd(&composed, inputs.lock.content.epoch, &cache_file, BEST_LEVEL, &steps)?;
    let init = composed.init.bytes().map_or(0, <[u8]>::len);
    Ok(CustomInitrd { linux: composed.linux, initrd, init })
}
