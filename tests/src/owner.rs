//! The owner's machine: a folder with keys and known boxes, and `octetctl`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::programs::octetctl;
use crate::tool::{Output, must, run};

#[derive(Debug)]
pub struct Owner {
    home: TempDir,
}

impl Owner {
    /// An owner without keys and known boxes.
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a folder") }
    }

    /// Generates the key `name`, and returns its public half.
    pub fn keygen(&self, name: &str) -> String {
        must(self.octetctl().arg("keygen").arg(self.path(name))).stdout.trim().to_owned()
    }

    /// Generates a key in `file`.
    pub fn keep_key(&self, file: &Path) {
        must(self.octetctl().arg("keygen").arg(file));
    }

    /// Runs `octetctl --key NAME` with further arguments.
    pub fn ask(&self, key: &str, words: &[&str]) -> Output {
        run(&mut self.command(key, words))
    }

    /// The same as a command that is not started yet.
    pub fn command(&self, key: &str, words: &[&str]) -> Command {
        let mut command = self.octetctl();
        command.arg("--key").arg(self.path(key)).args(words);
        command
    }

    /// `octetctl openwrt` with further arguments, not started yet.
    pub fn openwrt(&self, words: &[&str]) -> Command {
        let mut command = self.octetctl();
        command.arg("openwrt").args(words);
        command
    }

    /// Writes the file `name` to the folder, which is the working directory of `octetctl`.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("room for a file");
    }

    /// The path of the file `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// `octetctl` for this owner, without arguments.
    fn octetctl(&self) -> Command {
        let mut command = Command::new(octetctl());
        command.current_dir(self.home.path());
        command.env("HOME", self.home.path()).env_remove("XDG_CONFIG_HOME");
        command
    }
}

impl Default for Owner {
    fn default() -> Self {
        Self::new()
    }
}
