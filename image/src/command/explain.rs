//! `cargo image explain`

use std::fs;
use std::process::ExitCode;

use miette::Diagnostic;
use octet_appliance::nearest;

use crate::appliance_file::nearest_hint;
use crate::build::{Options, workspace};
use crate::output::manifest::{ImageManifest, ManifestItem};
use crate::report;

/// Shows the origin of a file in the image: package, build or overlay
#[derive(clap::Args)]
pub struct Args {
    /// The absolute path of the file in the image
    path: String,
    #[command(flatten)]
    options: Options,
}

/// There is nothing to tell.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum ExplainError {
    #[error("there is no image in {0}")]
    #[diagnostic(help("run `cargo image build` first"))]
    NoImage(String),
    #[error("the image has no {path}")]
    #[diagnostic(help("{hint}"))]
    Unknown { path: String, hint: String },
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let workspace = workspace()?;
    let folder = args.options.folder(&workspace);
    let no_image = || ExplainError::NoImage(folder.display().to_string());
    let text = fs::read(folder.join("manifest.json")).map_err(|_| no_image())?;
    let manifest: ImageManifest = serde_json::from_slice(&text).map_err(|_| no_image())?;
    let systems = [
        ("the root file system", &manifest.root),
        ("the initramfs", &manifest.initrd),
        ("the EFI system partition", &manifest.esp),
    ];
    // The same two files lie in `boot/` beside the image's disk.
    let path = match args.path.strip_prefix("/boot/") {
        Some(file) => format!("/octet/{}/{file}", manifest.slot),
        None => args.path.clone(),
    };
    let found: Vec<_> = systems
        .into_iter()
        .flat_map(|(system, items)| items.iter().map(move |item| (system, item)))
        .filter(|(_, item)| item.path == path)
        .collect();
    if found.is_empty() {
        let near = nearest(
            &args.path,
            manifest.root.iter().chain(&manifest.esp).map(|item| item.path.as_str()),
        );
        let hint = nearest_hint(&near, "manifest.json lists all paths");
        return Err(ExplainError::Unknown { path: args.path, hint }.into());
    }
    for (system, item) in found {
        report::print(&describe(item, system))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All that is known of one path in `system`, a line each.
fn describe(item: &ManifestItem, system: &str) -> String {
    let mut text = format!("{}\n", item.path);
    let mut line = |name: &str, value: &str| text += &format!("  {name:9} {value}\n");
    line("in", system);
    line("type", &item.kind);
    line("from", &item.origin);
    if let Some(replaced) = &item.replaced {
        line("instead of", replaced);
    }
    line("mode", &format!("{} {}:{}", item.mode, item.uid, item.gid));
    if let Some(size) = item.size {
        line("size", &size.to_string());
    }
    if let Some(sha256) = item.sha256 {
        line("sha256", &sha256.to_string());
    }
    if let Some(target) = &item.target {
        line("target", target);
    }
    line("because", &item.because);
    if let Some(words) = &item.text {
        line("", &format!("| {words}"));
    }
    text
}
