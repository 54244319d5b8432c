//! `cargo image tools`

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use miette::{Diagnostic, IntoDiagnostic, WrapErr};

use crate::build::{self, Options};
use crate::output::file::WriteError;
use crate::report;
use crate::setup;
use crate::target::Target;

/// The owner's and the person's program, and what selects them for cargo. Here `octetctl` also speaks to routers with
/// OpenWrt and serves pages, which that of the image does not.
const TOOLS: [&str; 2] = ["octetctl", "octet-msg"];
const BUILD_ARGUMENTS: [&str; 10] = [
    "--package",
    "octetctl",
    "--features",
    "octetctl/openwrt,octetctl/web",
    "--package",
    "octet-msg",
    "--bin",
    "octetctl",
    "--bin",
    "octet-msg",
];

/// Builds and installs `octetctl` and `octet-msg` on this machine (static programs)
#[derive(clap::Args)]
pub struct Args {
    /// Install missing Debian packages and Rust targets first
    #[arg(long)]
    setup: bool,
    /// The folder to install into [default: ~/.local/bin]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
enum ToolsError {
    #[error("nothing says where your programs are kept")]
    #[diagnostic(help("say it with --into DIR, or set HOME"))]
    NoHome,
    #[error("cargo has not made {0}")]
    #[diagnostic(help("this is a fault of Octet's: please report it"))]
    NotBuilt(&'static str),
}

/// Runs the subcommand.
pub fn run(args: Args) -> miette::Result<ExitCode> {
    let options = Options { target: Target::of_host(), ..Options::default() };
    setup::require(&setup::run(options.target), args.setup)?;
    let folder = match args.into {
        Some(folder) => folder,
        None => std::env::home_dir().ok_or(ToolsError::NoHome)?.join(".local/bin"),
    };
    fs::create_dir_all(&folder).map_err(WriteError::at(&folder))?;
    eprintln!("{:10} {}: seconds, if this clone has built an image", "compile", TOOLS.join(", "));
    let began = Instant::now();
    let made = build::programs_beside(&options, &BUILD_ARGUMENTS)?;
    for tool in TOOLS {
        let program = made.iter().find(|program| program.ends_with(tool));
        let program = program.ok_or(ToolsError::NotBuilt(tool))?;
        let size = install(program, &folder.join(tool))
            .into_diagnostic()
            .wrap_err_with(|| format!("cannot put {tool} into {}", folder.display()))?;
        let place = folder.join(tool);
        report::print(&format!("{} ({:.1} MB)\n", place.display(), size as f64 / 1e6))?;
    }
    eprintln!("{:10} {} programs ({:.1} s)", "tools", TOOLS.len(), began.elapsed().as_secs_f64());
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|it| it == folder) {
        eprintln!("note: {} is not in PATH", folder.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts a copy of `program` to `path`, in the place of one that may run. Returns its size in bytes.
fn install(program: &Path, path: &Path) -> io::Result<u64> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let size = io::copy(&mut fs::File::open(program)?, &mut file)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o755))?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_program_that_runs_is_replaced_and_runs_on() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, path] = ["one", "two", "octetctl"].map(|name| folder.path().join(name));
        fs::write(&one, "one").unwrap();
        fs::write(&two, "two!").unwrap();
        assert_eq!(install(&one, &path).unwrap(), 3);
        let mut runs = fs::File::open(&path).unwrap();
        assert_eq!(install(&two, &path).unwrap(), 4);
        let mut text = String::new();
        runs.read_to_string(&mut text).unwrap();
        assert_eq!((&*text, &*fs::read_to_string(&path).unwrap()), ("one", "two!"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
        // Nothing else is left there.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
