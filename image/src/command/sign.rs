//! `cargo image sign`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use miette::IntoDiagnostic;
use octet_bundle::SlotName;

use crate::build::{self, Built};
use crate::output::manifest::ImageManifest;
use crate::report;
use crate::update::{self, ReleaseInfo, make_key};

/// Signs the image as an update; `cargo image bundle` then packs the update file
#[derive(clap::Args)]
pub struct Args {
    /// The secret key in minisign's format
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// Generate a key pair, FILE and FILE.pub, and exit
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    new_key: Option<PathBuf>,
    /// Do not encrypt the new key with a password: whoever reads the file can sign
    #[arg(long, requires = "new_key")]
    no_password: bool,
    /// The release's sequence number [default: the seconds since 1970]
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// Anti-rollback: boxes on which this release was good reject releases below N
    #[arg(long, value_name = "N")]
    floor: Option<u64>,
    /// An earlier update, for which the bundle contains patches; may be given several times
    #[arg(long, value_name = "UPDATE")]
    from: Vec<PathBuf>,
    #[command(flatten)]
    build: build::Options,
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    if let Some(path) = &args.new_key {
        let (public, key) = make_key(path, !args.no_password)?;
        report::print(&format!(
            "{}: keep it, and keep it secret\n{}: for appliance.toml:\n\n[trust]\nupdate_keys = [\"{key}\"]\n",
            path.display(),
            public.display()
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let key = args.key.unwrap_or_default(); // clap demands one
    let built = build::build(&args.build)?;
    let release = ReleaseInfo { sequence: args.sequence, floor: args.floor, from: args.from };
    let name = slot(&built)?;
    let (manifest, paths) = update::sign(&built.folder, &built.disk, &name, &key, &release)?;
    report::print(&format!(
        "slot {name}, sequence {}, floor {}\n",
        manifest.sequence, manifest.floor
    ))?;
    paths.iter().try_for_each(|path| report::print(&format!("{}\n", path.display())))?;
    Ok(ExitCode::SUCCESS)
}

/// The name of the slot of an image.
pub fn slot(built: &Built) -> miette::Result<SlotName> {
    let text = std::fs::read(Path::new(&built.folder).join("manifest.json")).into_diagnostic()?;
    let manifest: ImageManifest = serde_json::from_slice(&text).into_diagnostic()?;
    manifest.slot.parse().into_diagnostic()
}
