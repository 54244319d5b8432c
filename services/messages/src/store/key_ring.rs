//! The keys of a store, in a separate encrypted file.

use std::io;
use std::path::Path;

use octet_node::durable::{self, ExistingFile};
use octet_node::key::{NoRandomness, random};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::PersonStoreError;
use crate::rows::{RowName, decode, encode};
use crate::sealed::{open, seal};

/// The name of the file, in the folder of the store.
const FILE: &str = "keys";

/// The domain of the file: other encrypted data cannot be used in its place.
const CONTEXT: &[u8] = b"octet keys of letters 1";

/// The maximum size of the file, in bytes.
const MAX_LENGTH: u64 = 4096;

/// The number of the history's key.
const HISTORY: u32 = 0;

/// The size of the key number that precedes the ciphertext, in bytes.
const NUMBER: usize = 4;

#[derive(Serialize, Deserialize)]
pub struct KeyRing {
    /// The secret input of the digests that name the rows.
    names: [u8; 32],
    history: [u8; 32],
    /// The keys of all other rows: two during a rotation. New rows use the last one.
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

    /// Reads the file in `folder`, and decrypts it with `key`.
    pub fn load(folder: &Path, key: &[u8; 32]) -> Result<Self, PersonStoreError> {
        let bytes = durable::read(&folder.join(FILE), MAX_LENGTH)?;
        let bytes = bytes.ok_or_else(|| PersonStoreError::Absent(folder.to_owned()))?;
        let ring: Option<Self> = open(key, &bytes, CONTEXT).and_then(|bytes| decode(&bytes));
        ring.filter(|ring| (1..=2).contains(&ring.state.len())).ok_or(PersonStoreError::WrongKey)
    }

    /// Writes the keys to `folder`, encrypted with `key`.
    pub fn save(
        &self,
        folder: &Path,
        key: &[u8; 32],
        is_new: bool,
    ) -> Result<(), PersonStoreError> {
        let sealed = seal(key, &encode(self), CONTEXT)?;
        let existing = if is_new { ExistingFile::Keep } else { ExistingFile::Replace };
        Ok(durable::write(&folder.join(FILE), &sealed, existing, |_| Ok::<_, io::Error>(()))?)
    }

    /// Whether a rotation is in progress.
    pub fn is_rotating(&self) -> bool {
        self.state.len() > 1
    }

    /// Starts a rotation: adds a key, which encrypts all rows from now on.
    pub fn begin_rotation(&mut self) -> Result<(), NoRandomness> {
        let number = self.state.last().map_or(HISTORY, |(number, _)| *number) + 1;
        self.state.push((number, random()?));
        Ok(())
    }

    pub fn end_rotation(&mut self) {
        self.state.drain(..self.state.len().saturating_sub(1));
    }

    /// The key of the row in the file.
    pub fn name(&self, row: &RowName) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.names).chain_update(encode(row)).finalize();
        let mut name = [0; 16];
        name.copy_from_slice(&digest[..16]);
        name
    }

    /// Whether an encrypted row is a line of the history.
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
