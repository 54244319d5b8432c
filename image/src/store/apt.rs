//! Fetching through apt, the ordinary client of Debian's archive: with this host's sources and
//! keys, and with lists of our own, so that nothing of the host changes and nobody has to be root.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use miette::Diagnostic;

/// apt, with fresh lists for one architecture.
#[derive(Clone)]
pub struct Apt {
    config: PathBuf,
}

#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum AptError {
    #[error("`{program}` is not there, and Debian packages are fetched with it")]
    #[diagnostic(help(
        "install apt (a package of most distributions), or copy a filled store from another machine"
    ))]
    NoApt { program: &'static str },
    #[error("`{what}` failed:\n{reason}")]
    #[diagnostic(help("see that the network works; with a filled store, --offline needs none"))]
    Failed { what: String, reason: String },
    /// The folder for its lists refuses.
    #[error("cannot write {path}: {why}")]
    #[diagnostic(help("make the store's folder writable, or set OCTET_STORE to another"))]
    Folder { path: PathBuf, why: io::Error },
    /// There is no such package.
    #[error("this host's sources of apt offer no package `{name}`")]
    #[diagnostic(help("see that they have Debian 12, main: `apt-cache policy`"))]
    Unknown { name: String },
}

/// The versions of a package that can be fetched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AvailableVersions {
    /// The one that apt would take.
    pub candidate: Option<String>,
    pub versions: Vec<String>,
}

impl Apt {
    /// Fetches the lists of `architecture`, as Debian spells it, into `folder`.
    pub fn update(folder: &Path, architecture: &str) -> Result<Self, AptError> {
        let folder = folder.join(architecture);
        let config = folder.join("apt.conf");
        let prepare = || -> io::Result<()> {
            fs::create_dir_all(folder.join("lists/partial"))?;
            fs::create_dir_all(folder.join("cache"))?;
            // No package is installed there: what the host has does not matter.
            fs::write(folder.join("status"), "")?;
            fs::write(&config, settings(&folder, architecture))
        };
        prepare().map_err(|why| AptError::Folder { path: folder.clone(), why })?;
        let apt = Self { config };
        // Without all lists nobody knows which versions are offered.
        apt.run("apt-get", &["--quiet", "--error-on=any", "update"], None)?;
        Ok(apt)
    }

    /// What is offered of the package `name`.
    pub fn policy(&self, name: &str) -> Result<AvailableVersions, AptError> {
        let output = self.run("apt-cache", &["policy", name], None)?;
        let offer = AvailableVersions::parse(&String::from_utf8_lossy(&output.stdout));
        if offer.candidate.is_none() {
            return Err(AptError::Unknown { name: name.to_owned() });
        }
        Ok(offer)
    }

    /// The package that has what `name` stands for: the kernel's own has the version of its modules in its name, and
    /// `linux-image-ARCHITECTURE`, which is empty, depends on the present one.
    pub fn real_package(&self, name: &str, version: &str) -> Result<String, AptError> {
        if !is_kernel(name) {
            return Ok(name.to_owned());
        }
        let package = format!("{name}={version}");
        let output = self.run("apt-cache", &["show", &package], None)?;
        let text = String::from_utf8_lossy(&output.stdout);
        kernel_dependency(&text).ok_or_else(|| AptError::Failed {
            what: format!("apt-cache show {package}"),
            reason: "its `Depends` names no package linux-image-VERSION".to_owned(),
        })
    }

    /// Downloads a package into the empty folder `into` and returns its path.
    pub fn download(&self, name: &str, version: &str, into: &Path) -> Result<PathBuf, AptError> {
        let package = format!("{name}={version}");
        self.run("apt-get", &["--quiet", "download", &package], Some(into))?;
        let failed = |reason: String| AptError::Failed {
            what: format!("apt-get download {package}"),
            reason,
        };
        let mut files = fs::read_dir(into)
            .map_err(|error| failed(error.to_string()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()));
        files.next().ok_or_else(|| failed("it succeeded, but there is no file".into()))
    }

    /// Downloads `file` of the source of the package `name` into the empty folder `into`. It is beside the package: so
    /// no list of sources (`deb-src`) is needed, which few hosts have.
    pub fn download_source(
        &self,
        name: &str,
        version: &str,
        file: &str,
        into: &Path,
    ) -> Result<PathBuf, AptError> {
        let package = format!("{name}={version}");
        let uris = self.run("apt-get", &["--quiet", "--print-uris", "download", &package], None)?;
        let text = String::from_utf8_lossy(&uris.stdout);
        let uri = source_uri(&text, file).ok_or_else(|| AptError::Failed {
            what: format!("apt-get --print-uris download {package}"),
            reason: "it prints no address of the package".into(),
        })?;
        let to = into.join(file);
        self.run(APT_HELPER, &["download-file", &uri, &to.to_string_lossy()], Some(into))?;
        Ok(to)
    }

    fn run(
        &self,
        program: &'static str,
        args: &[&str],
        folder: Option<&Path>,
    ) -> Result<Output, AptError> {
        let what = format!("{program} {}", args.join(" "));
        let mut command = Command::new(program);
        // Read after the host's settings, so that ours count.
        command.arg("--config-file").arg(&self.config).args(args).env("LC_ALL", "C");
        if let Some(folder) = folder {
            command.current_dir(folder);
        }
        let output = command.output().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => AptError::NoApt { program },
            _ => AptError::Failed { what: what.clone(), reason: error.to_string() },
        })?;
        if output.status.success() {
            return Ok(output);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        let reason = lines[lines.len().saturating_sub(5)..].join("\n");
        Err(AptError::Failed { what, reason })
    }
}

/// apt's own program for single files (apt-helper(8)); no folder of `PATH` has it.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// The address of `file` beside the package of which apt-get has printed `'ADDRESS' NAME SIZE HASH`.
fn source_uri(printed: &str, file: &str) -> Option<String> {
    let line = printed.lines().find(|line| line.starts_with('\''))?;
    let (uri, _) = line[1..].split_once('\'')?;
    let (folder, _) = uri.rsplit_once('/')?;
    // As apt writes them: in an address `+` may stand for a blank.
    Some(format!("{folder}/{}", file.replace('+', "%2b")))
}

/// Whether version `a` of a package is newer than `b` (deb-version(7)).
pub fn is_newer(a: &str, b: &str) -> Result<bool, AptError> {
    let status = Command::new("dpkg")
        .args(["--compare-versions", a, "gt", b])
        .status()
        .map_err(|_| AptError::NoApt { program: "dpkg" })?;
    Ok(status.success())
}

/// Whether `name` is the package that depends on the present kernel.
pub fn is_kernel(name: &str) -> bool {
    name.starts_with("linux-image-")
}

/// The kernel's package among what `Depends` names in `text`, the stanza of a package (deb-control(5)).
fn kernel_dependency(text: &str) -> Option<String> {
    let depends = text.lines().find_map(|line| line.strip_prefix("Depends: "))?;
    let mut names = depends.split(", ").filter_map(|word| word.split(' ').next());
    names.find(|name| is_kernel(name)).map(str::to_owned)
}

/// apt.conf(5).
fn settings(folder: &Path, architecture: &str) -> String {
    let folder = folder.display();
    format!(
        "// What the host runs after an update is about the host's own lists.\n\
         #clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear APT::Architectures;\n\
         APT::Architecture \"{architecture}\";\n\
         APT::Architectures {{ \"{architecture}\"; }};\n\
         // Root's folders are closed to the user that apt would fetch as.\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Dir::State::Lists \"{folder}/lists\";\n\
         Dir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}/cache\";\n"
    )
}

impl AvailableVersions {
    /// Reads what `apt-cache policy NAME` says. Below `Version table:` a version stands behind
    /// four blanks and one that tells it apart from the installed one, its sources behind more.
    fn parse(text: &str) -> Self {
        let mut offer = Self::default();
        let mut in_table = false;
        for line in text.lines() {
            if let Some(candidate) = line.strip_prefix("  Candidate: ") {
                offer.candidate = Some(candidate.to_owned()).filter(|it| it != "(none)");
            }
            let version = line.strip_prefix("     ").or_else(|| line.strip_prefix(" *** "));
            let version = version.filter(|rest| in_table && !rest.starts_with(' '));
            if let Some(version) = version.and_then(|rest| rest.split(' ').next()) {
                offer.versions.push(version.to_owned());
            }
            in_table |= line == "  Version table:";
        }
        offer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: &str = "it:\n  Installed: (none)\n  Candidate: 1:2.3-4+deb12u5\n  Version table:\n     \
        1:2.3-4+deb12u5 500\n        500 http://mirror it/main arm64 Packages\n *** 2.2 500\n        \
        100 /var/lib/dpkg/status\n";

    #[test]
    fn reads_a_policy() {
        let offer = AvailableVersions::parse(POLICY);
        assert_eq!(offer.candidate.as_deref(), Some("1:2.3-4+deb12u5"));
        assert_eq!(offer.versions, ["1:2.3-4+deb12u5", "2.2"]);
        assert_eq!(AvailableVersions::parse(""), AvailableVersions::default());
        assert_eq!(
            AvailableVersions::parse("it:\n  Candidate: (none)\n"),
            AvailableVersions::default()
        );
    }

    #[test]
    fn the_kernel_has_its_version_in_its_name() {
        let stanza = "Package: linux-image-arm64\nProvides: linux-image-generic\n\
            Depends: x, linux-image-6.1.0-57-arm64 (= 6.1.192-3)\n";
        assert_eq!(kernel_dependency(stanza).as_deref(), Some("linux-image-6.1.0-57-arm64"));
        assert_eq!(kernel_dependency("Package: linux-image-arm64\nDepends: x\n"), None);
    }

    #[test]
    fn versions_are_compared_as_debian_does() {
        assert!(is_newer("252.39-1~deb12u2", "252.39-1~deb12u1").unwrap());
        assert!(is_newer("1:1", "2").unwrap() && is_newer("1", "1~rc1").unwrap());
        assert!(!is_newer("1.0", "1.0").unwrap());
    }

    proptest! {
        #[test]
        fn never_panics(text in "(  Candidate: |  Version table:| \\*\\*\\* |     |\n|\\PC{0,5}){0,20}") {
            let _ = AvailableVersions::parse(&text);
        }
    }
}
