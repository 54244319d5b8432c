//! U-Boot from Debian's source package, for boards for which Debian builds none: the commands of its `debian/rules`, so
//! that a board of Debian's comes out byte for byte as in its package, but for the compiler's own version.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lzma_rust2::XzReader;
use miette::{Diagnostic, IntoDiagnostic, WrapErr};

use super::Hardware;
use super::allwinner;
use crate::output::file;
use crate::source::DebPackage;
use crate::steps::Steps;

/// Of the package arm-trusted-firmware: what U-Boot starts first, for H5 and A64 alike.
const BL31: &str = "/usr/lib/arm-trusted-firmware/sun50i_a64/bl31.bin";

/// How the names of the cross compiler's programs begin.
pub const CROSS_COMPILE: &str = "aarch64-linux-gnu-";

/// Nothing of the user's: a Python of theirs may lack what U-Boot's build imports.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes that unpacking may take, in KiB (`xz -9` asks for 65 MiB).
const XZ_MEMORY: u32 = 128 << 10;

/// Lines of a failed program's output that are shown.
const SHOWN_LINES: usize = 15;

/// U-Boot cannot be built.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum SourceBuildError {
    #[error("{program} failed:\n{output}")]
    #[diagnostic(help("`cargo image flash --setup` installs what the build needs"))]
    Failed { program: String, output: String },
    #[error("cannot start {program}: {why}")]
    #[diagnostic(help("`cargo image flash --setup` installs what the build needs"))]
    NotStarted { program: String, why: io::Error },
    #[error("the source package of U-Boot is not as expected: {0}")]
    #[diagnostic(help(
        "its version in appliance.lock is not one that this release of Octet can use"
    ))]
    Unexpected(&'static str),
    #[error("U-Boot cannot be built in {}: its path has a blank", .0.display())]
    #[diagnostic(help("set TMPDIR to a folder without"))]
    Blank(PathBuf),
}

/// What U-Boot is built from.
pub struct UBootSource {
    /// The archive of its makers, and that of Debian's changes.
    pub upstream: PathBuf,
    pub debian: PathBuf,
    pub trusted_firmware: DebPackage,
}

/// U-Boot for `hardware`, with the compiler `cross_compile`; its first part and the rest in one file. What `kept` has
/// was built before of the same.
pub fn build(
    hardware: Hardware,
    source: &UBootSource,
    cross_compile: &str,
    kept: Option<&Path>,
    steps: &Steps,
) -> miette::Result<Vec<u8>> {
    if let Some(bytes) = kept.and_then(|path| fs::read(path).ok()) {
        return Ok(bytes);
    }
    let step = steps.start("u-boot", &format!("for {hardware}, of its source: about a minute"));
    let folder = tempfile::tempdir().into_diagnostic().wrap_err("no folder for U-Boot's source")?;
    let work = folder.path().canonicalize().into_diagnostic()?;
    if work.to_string_lossy().contains(char::is_whitespace) {
        return Err(SourceBuildError::Blank(work).into());
    }
    let sources = unpack(source, &work)?;
    let bl31 = work.join("bl31.bin");
    let firmware =
        source.trusted_firmware.file(BL31).ok_or(SourceBuildError::Unexpected("no bl31.bin"))?;
    fs::write(&bl31, firmware).into_diagnostic()?;
    let objects = work.join("objects");
    fs::create_dir(&objects).into_diagnostic()?;
    let (revision, epoch) = revision_and_time(&sources)?;
    let make = |target: Option<&str>| {
        let mut make = Command::new("make");
        make.env_clear()
            .env("PATH", PATH)
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            // A folder of the user's that is a git repository is not U-Boot's.
            .env("GIT_DIR", "/nonexistent")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("SOURCE_DATE_EPOCH", &epoch)
            .arg("-C")
            .arg(&sources)
            .arg(format!("-j{}", std::thread::available_parallelism().map_or(1, usize::from)))
            .arg(format!("O={}", objects.display()))
            .arg(format!("HOSTCFLAGS=-g -ffile-prefix-map={}=.", sources.display()))
            .arg(format!("CROSS_COMPILE={cross_compile}"))
            .arg(format!("BL31={}", bl31.display()))
            // Debian has no firmware of the H5's system control processor.
            .arg("SCP=/dev/null")
            .args(target);
        make
    };
    run(&mut make(Some(&format!("{hardware}_defconfig"))))?;
    set_revision(&objects.join(".config"), &revision)?;
    run(&mut make(None))?;
    let made = |name: &str| {
        fs::read(objects.join(name)).into_diagnostic().wrap_err_with(|| format!("no {name}"))
    };
    let u_boot =
        allwinner::join(&made("spl/sunxi-spl.bin")?, &made("u-boot-sunxi-with-spl.fit.itb")?);
    if let Some(path) = kept {
        file::write(path, &u_boot)?;
    }
    step.done(&format!("U-Boot {revision} for {hardware}, {} bytes", u_boot.len()));
    Ok(u_boot)
}

/// Which compiler it is.
pub fn compiler_version(cross_compile: &str) -> Result<String, SourceBuildError> {
    let mut gcc = Command::new(format!("{cross_compile}gcc"));
    let output = run(gcc.arg("--version").env("PATH", PATH).env("LC_ALL", "C"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Unpacks the source package into `work`, with Debian's patches, as dpkg-source(1) does.
fn unpack(source: &UBootSource, work: &Path) -> miette::Result<PathBuf> {
    let into = work.join("source");
    let open = |path: &Path, into: &Path| -> io::Result<()> {
        let packed = fs::read(path)?;
        let unpacked = XzReader::new_mem_limit(&packed[..], false, XZ_MEMORY);
        tar::Archive::new(unpacked).unpack(into)
    };
    let failed = "the source of U-Boot cannot be unpacked";
    open(&source.upstream, &into).into_diagnostic().wrap_err(failed)?;
    let mut folders = fs::read_dir(&into).into_diagnostic()?.filter_map(Result::ok);
    let sources = match (folders.next(), folders.next()) {
        (Some(folder), None) => folder.path(),
        _ => return Err(SourceBuildError::Unexpected("it has not one folder").into()),
    };
    open(&source.debian, &sources).into_diagnostic().wrap_err(failed)?;
    let patches = sources.join("debian/patches");
    let series = fs::read_to_string(patches.join("series")).into_diagnostic().wrap_err(failed)?;
    let names = series.lines().map(str::trim);
    for name in names.filter(|name| !name.is_empty() && !name.starts_with('#')) {
        let mut patch = Command::new("patch");
        patch.args(["--silent", "--strip=1", "--input"]).arg(patches.join(name));
        run(patch.current_dir(&sources).env("PATH", PATH))?;
    }
    Ok(sources)
}

/// Debian's part of the version, and the time of its last change, in seconds since 1970 (deb-changelog(5)).
fn revision_and_time(sources: &Path) -> miette::Result<(String, String)> {
    let text = fs::read_to_string(sources.join("debian/changelog")).into_diagnostic()?;
    let unexpected = || SourceBuildError::Unexpected("its changelog");
    let version = text.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let (_, revision) =
        version.and_then(|(it, _)| it.split_once("+dfsg")).ok_or_else(unexpected)?;
    let signature = text.lines().find(|line| line.starts_with(" -- ")).ok_or_else(unexpected)?;
    let (_, time) = signature.rsplit_once(">  ").ok_or_else(unexpected)?;
    let output = run(Command::new("date").args(["-u", "+%s", "-d", time]))?;
    let epoch = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok((format!("+dfsg{revision}"), epoch))
}

/// As `debian/rules` does; on the command line of make it would be ignored.
fn set_revision(config: &Path, revision: &str) -> miette::Result<()> {
    const KEY: &str = "CONFIG_LOCALVERSION=";
    let text = fs::read_to_string(config).into_diagnostic()?;
    let set = |line: &str| match line.starts_with(KEY) {
        true => format!("{KEY}\"{revision}\"\n"),
        false => format!("{line}\n"),
    };
    if !text.lines().any(|line| line.starts_with(KEY)) {
        return Err(SourceBuildError::Unexpected("its configuration has no local version").into());
    }
    fs::write(config, text.lines().map(set).collect::<String>()).into_diagnostic()
}

fn run(command: &mut Command) -> Result<Output, SourceBuildError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|why| SourceBuildError::NotStarted { program: program.clone(), why })?;
    if output.status.success() {
        return Ok(output);
    }
    let all = [output.stdout, output.stderr].concat();
    let all = String::from_utf8_lossy(&all);
    let lines: Vec<_> = all.lines().filter(|line| !line.trim().is_empty()).collect();
    let output = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
    Err(SourceBuildError::Failed { program, output })
}
