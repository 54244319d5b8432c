//! The boot loader's entry of a slot (Boot Loader Specification, type 1).

use std::fmt::Write as _;

use crate::TRIAL;
use crate::manifest::Manifest;
use crate::slot_env::SlotEnv;

/// The entry of a slot, and the paths of its files on the EFI system partition (with a leading
/// `/`): in its own folder, or in that of another slot which has the same file.
#[derive(Debug, Clone, Copy)]
pub struct BootEntry<'a> {
    pub manifest: &'a Manifest,
    pub linux: &'a str,
    pub initrd: &'a str,
    /// Only U-Boot reads it: UEFI firmware brings its own device tree.
    pub dtb: Option<&'a str>,
    /// Whether PID 1 restarts the machine if the slot does not become good in time: only where
    /// there is another slot to return to.
    pub on_trial: bool,
}

impl BootEntry<'_> {
    /// The entry's text. The boot loader sorts by `version`, the highest first, so it begins with
    /// the sequence.
    pub fn render(&self) -> String {
        let manifest = self.manifest;
        let slot = &manifest.slot;
        let mut options = self.options();
        if self.on_trial {
            let _ = write!(options, " octet.{TRIAL}={}", manifest.trial);
        }
        let mut text = String::new();
        for (key, value) in [
            ("title", format!("Octet {slot}")),
            ("version", format!("{}-{slot}", manifest.sequence)),
            ("sort-key", "octet".into()),
            ("architecture", manifest.architecture.to_string()),
            ("linux", self.linux.to_owned()),
            ("initrd", self.initrd.to_owned()),
            ("options", options),
        ] {
            let _ = writeln!(text, "{key:12} {value}");
        }
        text
    }

    /// The same for a board that U-Boot starts.
    pub fn env(&self) -> SlotEnv {
        SlotEnv {
            slot: self.manifest.slot.clone(),
            linux: self.linux.to_owned(),
            initrd: self.initrd.to_owned(),
            dtb: self.dtb.map(str::to_owned),
            options: self.options(),
            trial: self.on_trial.then_some(self.manifest.trial),
        }
    }

    /// The kernel's command line, without the trial.
    fn options(&self) -> String {
        let options = format!("{} octet.slot={}", self.manifest.command_line, self.manifest.slot);
        options.trim_start().to_owned()
    }
}

/// The text of an entry that is not on trial any more.
pub fn without_trial(text: &str) -> String {
    let word = format!(" octet.{TRIAL}=");
    let settled = |line: &str| match line.find(&word) {
        Some(at) if line.starts_with("options") => {
            let rest = &line[at + word.len()..];
            format!("{}{}\n", &line[..at], rest.find(' ').map_or("", |end| &rest[end..]))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(settled).collect()
}

/// What an entry on the EFI system partition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedEntry {
    /// The number at the beginning of its version; 0 if it has none.
    pub sequence: u64,
    /// The files that it names, from the root of the partition on, without a leading `/`.
    pub files: Vec<String>,
}

impl ParsedEntry {
    /// Parses an entry's text. It never fails: only the names of files matter.
    pub fn parse(text: &str) -> Self {
        let mut listed = Self { sequence: 0, files: vec![] };
        for line in text.lines() {
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let value = value.trim();
            match key {
                "version" => {
                    let digits = value.split('-').next().unwrap_or_default();
                    listed.sequence = digits.parse().unwrap_or(0);
                }
                "linux" | "initrd" => listed.files.push(value.trim_start_matches('/').to_owned()),
                _ => {}
            }
        }
        listed
    }

    /// Whether the boot loader skips it because it names no kernel: a power cut within a rename
    /// leaves an empty file (Linux, fs/fat: `vfat_rename`).
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChunkedFile, Data, Digest, FileChunk, SlotFile, SlotFiles};
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        let file = || {
            let chunks = vec![FileChunk::plain(b"x")];
            ChunkedFile { size: 1, sha256: Digest::of(b"x"), chunks }
        };
        Manifest {
            format: 1,
            target: "qemu-aarch64".parse().unwrap(),
            architecture: "aa64".parse().unwrap(),
            slot: "1.2.3-ba7816bf".parse().unwrap(),
            version: "1.2.3".parse().unwrap(),
            sequence: 42,
            floor: 0,
            data: Data { reads: (1, 1), writes: 1 },
            trial: 90,
            command_line: "console=ttyAMA0 quiet".parse().unwrap(),
            files: SlotFiles { linux: file(), initrd: file(), dtb: None },
            patches: vec![],
        }
    }

    #[test]
    fn text() {
        let manifest = manifest();
        let linux = format!("/{}", manifest.slot.file(SlotFile::Linux));
        let entry = BootEntry {
            manifest: &manifest,
            linux: &linux,
            initrd: "/octet/old/initrd",
            dtb: None,
            on_trial: true,
        };
        let good = "title        Octet 1.2.3-ba7816bf\n\
                    version      42-1.2.3-ba7816bf\n\
                    sort-key     octet\n\
                    architecture aa64\n\
                    linux        /octet/1.2.3-ba7816bf/linux\n\
                    initrd       /octet/old/initrd\n\
                    options      console=ttyAMA0 quiet octet.slot=1.2.3-ba7816bf\n";
        let tried = good.replace("bf\n", "bf octet.trial=90\n");
        let tried = tried.replacen("bf octet.trial=90\n", "bf\n", 2);
        assert_eq!(entry.render(), tried);
        assert_eq!(without_trial(&tried), good);
        assert_eq!(without_trial(good), good);
        assert_eq!(BootEntry { on_trial: false, ..entry }.render(), good);
        let files = vec!["octet/1.2.3-ba7816bf/linux".into(), "octet/old/initrd".into()];
        assert_eq!(ParsedEntry::parse(good), ParsedEntry { sequence: 42, files });

        let env = "slot=1.2.3-ba7816bf\n\
                   linux=/octet/1.2.3-ba7816bf/linux\n\
                   initrd=/octet/old/initrd\n\
                   options=console=ttyAMA0 quiet octet.slot=1.2.3-ba7816bf\n\
                   trial=90\n";
        assert_eq!(entry.env().render(), env);
        let untried = BootEntry { on_trial: false, ..entry }.env();
        assert_eq!(untried.render(), env.replace("=90", "="));
        let with_trees = BootEntry { dtb: Some("/octet/old/dtb"), ..entry };
        assert_eq!(with_trees.render(), tried);
        assert_eq!(with_trees.env().render(), format!("{env}dtb=/octet/old/dtb\n"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*", lines in "(options|version|linux)? [a-z.=0-9 \\n]*") {
            ParsedEntry::parse(&text);
            ParsedEntry::parse(&lines);
            prop_assert!(without_trial(&lines).lines().count() == lines.lines().count());
            without_trial(&text);
        }
    }
}
