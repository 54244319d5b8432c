//! What the host must have, beyond what compiled this program, and how it gets there.

mod find;
mod install;
mod need;

use miette::Diagnostic;
use octet_machine::Architecture;

pub use find::{guests_folder, libraries, unpacked_folder};
pub use need::{
    AARCH64, BUILD, CACHE, LAN, NFT, NGINX, Need, PATHS, SEGMENTS, SOAK, SUPERVISORS, TEST, U_BOOT,
    VERIFY, X86_64,
};

use crate::target::Target;

/// Things are missing, and were not to be installed.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("this machine lacks what is needed:\n{}", list(needs))]
#[diagnostic(help("the same command with --setup installs it"))]
struct Missing {
    needs: Vec<&'static Need>,
}

/// What building for `target` needs, and booting that.
pub fn run(target: Target) -> [&'static [Need]; 2] {
    match target.architecture() {
        Architecture::X86_64 => [&BUILD, &X86_64],
        Architecture::Aarch64 => [&BUILD, &AARCH64],
    }
}

/// Sees that all of `needs` is there; with `setup` installs what is not.
///
/// # Errors
/// Something is missing and was not to be installed, or could not be.
pub fn require(needs: &[&'static [Need]], setup: bool) -> miette::Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        if setup {
            eprintln!("setup      nothing is missing, nothing is installed");
        }
        return Ok(());
    }
    if !setup {
        return Err(Missing { needs: missing }.into());
    }
    eprintln!("setup      installs what is missing:\n{}", list(&missing));
    install::install(&missing)?;
    let still = self::missing(needs);
    if still.is_empty() {
        Ok(())
    } else {
        Err(install::InstallError::StillMissing(list(&still)).into())
    }
}

fn missing(needs: &[&'static [Need]]) -> Vec<&'static Need> {
    needs.iter().copied().flatten().filter(|need| !find::is_installed(need)).collect()
}

/// One line per need: what, from where, why.
fn list(needs: &[&Need]) -> String {
    let line = |need: &&Need| format!("  {} ({}): {}", need.name, need.source, need.why);
    needs.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::need::{Test, ToolSource};

    static SHELL: [Need; 1] = [Need {
        name: "sh",
        why: "a test",
        test: Test::Program("sh"),
        source: ToolSource::Debian(&["dash"]),
    }];
    static NOTHING: [Need; 1] = [Need {
        name: "no-such-program",
        why: "a test of what is missing",
        test: Test::Program("no-such-program"),
        source: ToolSource::Debian(&["no-such-package"]),
    }];

    #[test]
    fn names_what_is_missing_and_why() {
        assert!(require(&[&SHELL], false).is_ok());
        let error = require(&[&SHELL, &NOTHING], false).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("no-such-program (Debian package no-such-package): a test"),
            "{text}"
        );
        assert!(!text.contains("dash"), "{text}");
        assert!(error.help().is_some_and(|help| help.to_string().contains("--setup")));
    }
}
