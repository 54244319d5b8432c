//! The keys of a store, in a file beside it that is sealed itself.

use std::io;
use std::path::Path;

use octet_node::durable::{self, ExistingFile};
use octet_node::key::{NoRandomness, random};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::PersonStoreError;
use crate::rows::{RowName, decode, encode};
use crate::sealed::{open, seal};

/// The file, in the folder of the store.
const FILE: &str = "keys";

/// What the file is, so that it is taken for nothing else.
const ABOUT: &[u8] = b"octet keys of letters 1";

/// More than it takes, in bytes.
const LONGEST: u64 = 4096;

/// The number of the key of the history.
const HISTORY: u32 = 0;

/// The bytes of the number of the key, before what is sealed.
const NUMBER: usize = 4;

#[derive(Serialize, Deserialize)]
pub struct KeyRing {
    /// Of which, with a row, its name is a digest.
    names: [u8; 32],
    history: [u8; 32],
    /// Seals all else; two while all is sealed anew. The last is sealed with.
    state: Vec<(u32, [u8; 32])>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl KeyRing {
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self { names: random()?, history: random()?, state: vec![(HISTORY + 1, random()?)] })
    }

    /// Reads the file in `folder`, which was sealed with `key`.
    pub fn load(folder: &Path, key: &[u8; 32]) -> Result<Self, PersonStoreError> {
        let bytes = durable::read(&folder.join(FILE), LONGEST)?;
        let bytes = bytes.ok_or_else(|| PersonStoreError::Absent(folder.to_owned()))?;
        let ring: Option<Self> = open(key, &bytes, ABOUT).and_then(|bytes| decode(&bytes));
        ring.filter(|ring| (1..=2).contains(&ring.state.len())).ok_or(PersonStoreError::WrongKey)
    }

    /// Keeps them in `folder`, sealed with `key`.
    pub fn save(
        &self,
        folder: &Path,
        key: &[u8; 32],
        is_new: bool,
    ) -> Result<(), PersonStoreError> {
        let sealed = seal(key, &encode(self), ABOUT)?;
        let existing = if is_new { ExistingFile::Keep } else { ExistingFile::Replace };
        Ok(durable::write(&folder.join(FILE), &sealed, existing, |_| Ok::<_, io::Error>(()))?)
    }

    /// Whether there is an older key.
    pub fn is_turning(&self) -> bool {
        self.state.len() > 1
    }

    /// Adds a key, with which is sealed from now on.
    pub fn begin_turn(&mut self) -> Result<(), NoRandomness> {
        let number = self.state.last().map_or(HISTORY, |(number, _)| *number) + 1;
        self.state.push((number, random()?));
        Ok(())
    }

    pub fn end_turn(&mut self) {
        self.state.drain(..self.state.len().saturating_sub(1));
    }

    /// What a row is called in the file.
    pub fn name(&self, row: &RowName) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.names).chain_update(encode(row)).finalize();
        let mut name = [0; 16];
        name.copy_from_slice(&digest[..16]);
        name
    }

    /// Whether a sealed row is one of the history.
    pub fn is_history(sealed: &[u8]) -> bool {
        sealed.starts_with(&HISTORY.to_be_bytes())
    }

    pub fn seal(&self, name: &[u8], row: &RowName, value: &[u8]) -> Result<Vec<u8>, NoRandomness> {
        let last =
            self.state.last().map_or((HISTORY, &self.history), |(number, key)| (*number, key));
        let (number, key) = if row.is_history() { (HISTORY, &self.history) } else { last };
        let mut out = number.to_be_bytes().to_vec();
        out.extend_from_slice(&seal(key, &encode(&(row, value)), name)?);
        Ok(out)
    }

    pub fn open(&self, name: &[u8], sealed: &[u8]) -> Option<(RowName, Vec<u8>)> {
        let (number, sealed) = sealed.split_at_checked(NUMBER)?;
        let number = u32::from_be_bytes(number.try_into().ok()?);
        let key = match number {
            HISTORY => &self.history,
            number => &self.state.iter().find(|(at, _)| *at == number)?.1,
        };
        let (row, value): (RowName, Vec<u8>) = decode(&open(key, sealed, name)?)?;
        (self.name(&row) == *name).then_some((row, value))
    }
}
