//! A folder with simulated power cuts before any step.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use octet_config::store::Folder;

#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// The number of steps.
    steps: u64,
    /// The step before which the power fails.
    cut: Option<u64>,
    /// Whether unsynced changes are lost then.
    loses: bool,
    dead: bool,
}

impl State {
    /// Counts a step. It fails without power.
    fn step(&mut self) -> io::Result<()> {
        self.dead |= self.cut == Some(self.steps);
        self.steps += 1;
        if self.dead { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }
}

impl Disk {
    /// Makes the power fail after `after` further steps.
    pub fn cut(&self, after: u64, loses: bool) {
        let mut state = self.0.lock().unwrap();
        state.cut = Some(state.steps + after);
        state.loses = loses;
    }

    /// Restores the power permanently. Returns whether it had failed.
    pub fn power(&self) -> bool {
        let mut state = self.0.lock().unwrap();
        state.cut = None;
        std::mem::take(&mut state.dead)
    }

    /// Counts a step that is not one of the disk.
    pub fn step(&self) -> bool {
        self.0.lock().unwrap().step().is_ok()
    }

    /// The number of steps.
    pub fn steps(&self) -> u64 {
        self.0.lock().unwrap().steps
    }

    /// Corrupts the newest file with this ending, as failing flash does.
    pub fn damage(&self, ending: &str) -> bool {
        let mut state = self.0.lock().unwrap();
        let newest = state.files.iter_mut().rev().find(|(name, _)| name.ends_with(ending));
        newest.and_then(|(_, bytes)| bytes.iter_mut().last().map(|last| *last ^= 1)).is_some()
    }
}

impl Folder for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.0.lock().unwrap();
        state.files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        let staged = format!("{name}.new");
        state.files.insert(staged.clone(), bytes[..bytes.len() / 2].to_vec());
        state.step()?;
        state.files.insert(staged.clone(), bytes.to_vec());
        state.step()?; // synced
        state.files.insert(name.to_owned(), bytes.to_vec());
        let kept = state.files.remove(&staged);
        state.step().inspect_err(|_| {
            if state.loses {
                state.files.remove(name);
                state.files.extend(kept.map(|bytes| (staged, bytes)));
            }
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        let bytes = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), bytes.clone());
        state.step().inspect_err(|_| {
            if state.loses {
                state.files.remove(to);
                state.files.insert(from.to_owned(), bytes);
            }
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        let bytes = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.step().inspect_err(|_| {
            if state.loses {
                state.files.insert(name.to_owned(), bytes);
            }
        })
    }
}
