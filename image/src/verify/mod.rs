//! `cargo image build --verify`: whether another person on another machine gets the same bytes.
//!
//! The workspace is copied to a longer path, with the permissions of another umask, in another
//! order of directory entries, and built there from nothing but the store and cargo's crates:
//! with another clock, time zone, locale, user and host name, on one processor. Each of these is
//! looked at in the place itself and only then said to be different.
//!
//! The clock is moved by datefudge, not by faketime: libfaketime looks up symbols that this C
//! library does not have while rustc's allocator (jemalloc) holds its lock, the dynamic linker
//! allocates for the error, and rustc waits for itself for ever.

mod compare;
pub mod copy;
mod other_host;
mod rebuild;
mod scratch;

use std::fs;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, IntoDiagnostic, WrapErr};

use crate::build::{Built, Options, workspace};
use crate::steps::Steps;
use crate::store::InputStore;
use crate::update::SIGNING_OUTPUTS;
use compare::{ComparedTotals, FileDifference, compare};
use other_host::OtherHost;
use rebuild::SecondBuild;
use scratch::ScratchFolders;

/// Of the paths in the image that differ, so many are shown.
const MAX_SHOWN: usize = 12;

/// The second build is not what it has to be.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum VerifyError {
    /// It gave other bytes.
    #[error("a second build gives other bytes: {what}{}", format_list(paths))]
    #[diagnostic(help(
        "both builds are kept: {} and {}; something in the build depends on one of:\n{}",
        first.display(), second.display(), varied.join("\n")
    ))]
    Differs {
        /// The first file that differs.
        what: String,
        /// The paths in the image that differ.
        paths: Vec<String>,
        /// The first build.
        first: PathBuf,
        /// The second one.
        second: PathBuf,
        /// What was different there.
        varied: Vec<String>,
    },
    /// There was no second build.
    #[error("the second build failed")]
    #[diagnostic(help("its words are above; it ran in {}, which is kept", copy.display()))]
    Failed {
        /// Where it ran.
        copy: PathBuf,
    },
    /// It took what the first one had made.
    #[error("the second build compiled nothing, so it proves nothing")]
    #[diagnostic(help("something it uses was made by the first one: see what it says above"))]
    NothingCompiled,
    /// It compiled what it was given compiled.
    #[error("the second build compiled again: {0}")]
    #[diagnostic(help("what programs are made of differs there: try without `=composition`"))]
    Compiled(String),
    /// It was stopped.
    #[error("stopped before it was done")]
    #[diagnostic(help("nothing is left of the second build"))]
    Stopped,
}

/// What of an image is made a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum VerifyExtent {
    /// Everything
    All,
    /// Everything but this workspace's own programs, which take minutes to compile
    Composition,
}

fn format_list(paths: &[String]) -> String {
    let more = paths.len().saturating_sub(MAX_SHOWN);
    let mut text: String = paths.iter().take(MAX_SHOWN).map(|path| format!("\n  {path}")).collect();
    if more > 0 {
        text += &format!("\n  and {more} more");
    }
    text
}

/// What is said of two builds that give the same bytes.
pub struct Verified {
    same: ComparedTotals,
    compiled: String,
    varied: Vec<String>,
    unvaried: Vec<String>,
}

impl Verified {
    /// For a person: what was the same although something was different.
    pub fn text(&self, built: &Built) -> String {
        let ComparedTotals { files, bytes } = self.same;
        let mut text = format!(
            "{}: {files} files, {bytes} bytes, the same in a second build ({})\n",
            built.folder.display(),
            self.compiled
        );
        for line in &self.varied {
            text += &format!("  different there: {line}\n");
        }
        for line in &self.unvaried {
            text += &format!("  the same there: {line}\n");
        }
        text.trim_end().to_owned()
    }
}

/// Builds what was built from `options` once more, elsewhere, and compares.
///
/// # Errors
/// It gives other bytes or fails; it compiles nothing, or with [`Extent::Composition`] anything.
pub fn verify(options: &Options, built: &Built, extent: VerifyExtent) -> miette::Result<Verified> {
    let root = workspace()?.root().to_owned();
    let steps = Steps::new();
    let scratch =
        ScratchFolders::new().into_diagnostic().wrap_err("there is no place for a copy")?;
    let (host, varied, unvaried) = prepare(&root, &scratch, &steps)?;
    if extent == VerifyExtent::Composition {
        scratch.take_compiled(&root).into_diagnostic().wrap_err("the programs cannot be copied")?;
    } else if !options.offline {
        rebuild::fetch(&scratch.copy, options.target.triple())?;
    }
    let out = scratch.rest.path().join("out");
    let output = match rebuild::run(&host, &scratch, &out, &root, options, &steps)? {
        SecondBuild::Succeeded(output) => output,
        SecondBuild::Failed => {
            let copy = scratch.copy.clone();
            scratch.keep();
            return Err(VerifyError::Failed { copy }.into());
        }
    };
    let compiled = match (extent, rebuild::compile_summary(&output)) {
        (VerifyExtent::All, Some(compiled)) => compiled,
        (VerifyExtent::All, None) => return Err(VerifyError::NothingCompiled.into()),
        (VerifyExtent::Composition, None) => {
            "of the programs that were compiled for the first".into()
        }
        (VerifyExtent::Composition, Some(what)) => return Err(VerifyError::Compiled(what).into()),
    };
    let (first, second) = (built.folder.clone(), out.join(options.target.name()));
    let step = steps.start("compare", "both builds");
    // Whoever has signed the first one did so after it was built.
    let difference = match compare(&first, &second, &SIGNING_OUTPUTS).into_diagnostic()? {
        Ok(same) => {
            step.done(&format!("{} files, {} bytes: the same", same.files, same.bytes));
            return Ok(Verified { same, compiled, varied, unvaried });
        }
        Err(difference) => difference,
    };
    let manifest = |folder: &Path| fs::read(folder.join("manifest.json")).unwrap_or_default();
    let paths = compare::paths(&manifest(&first), &manifest(&second));
    scratch.keep();
    Err(VerifyError::Differs { what: describe(&difference), paths, first, second, varied }.into())
}

/// Makes the copy of the workspace at `root` and the other host; tells what is different there,
/// and what is not.
fn prepare(
    root: &Path,
    scratch: &ScratchFolders,
    steps: &Steps,
) -> miette::Result<(OtherHost, Vec<String>, Vec<String>)> {
    let step = steps.start("copy", "the workspace");
    let copied = scratch.fill(root).into_diagnostic().wrap_err("the workspace cannot be copied")?;
    let store = InputStore::open(true)?;
    let there =
        OtherHost::new(&scratch.rest.path().join("host"), store.root()).into_diagnostic()?;
    let (mut varied, mut unvaried) = there
        .differences()
        .into_diagnostic()
        .wrap_err("no program can be run as on another host")?;
    varied.insert(0, format!("path: {}, not {}", scratch.copy.display(), root.display()));
    let (folders, reordered) = copy::reordered(root, &scratch.copy, &copied);
    let order = format!("order of directory entries: in {reordered} of {folders} folders");
    let list = if reordered > 0 { &mut varied } else { &mut unvaried };
    list.push(order);
    step.done(&format!("{} files to {}", copied.len(), scratch.copy.display()));
    Ok((there, varied, unvaried))
}

fn describe(difference: &FileDifference) -> String {
    match difference {
        FileDifference::Missing { file, in_first: true } => {
            format!("only the second one has {}", file.display())
        }
        FileDifference::Missing { file, in_first: false } => {
            format!("only the first one has {}", file.display())
        }
        FileDifference::Content { file, at } => {
            format!("{} differs first at byte {at}", file.display())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_differs_and_where_it_is() {
        let content = FileDifference::Content { file: "boot/initrd".into(), at: 17 };
        let error = VerifyError::Differs {
            what: describe(&content),
            paths: (0..20).map(|n| format!("root: /bin/{n}: sha256")).collect(),
            first: "/first".into(),
            second: "/second".into(),
            varied: vec!["umask: 0077, not 0022".into()],
        };
        let text = error.to_string();
        assert!(text.contains("boot/initrd differs first at byte 17"), "{text}");
        assert!(text.contains("root: /bin/3: sha256") && text.contains("8 more"), "{text}");
        let help = error.help().map(|help| help.to_string()).unwrap_or_default();
        assert!(help.contains("/second") && help.contains("umask"), "{help}");
    }
}
