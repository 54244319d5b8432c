//! Disks in memory that lose power.

use std::io;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use redb::StorageBackend;

const SECTOR: usize = 512;

#[derive(Debug, Clone)]
enum Operation {
    Length(usize),
    Write(usize, Vec<u8>),
}

#[derive(Debug, Default)]
struct Contents {
    /// What survives a power cut for certain.
    synced: Vec<u8>,
    /// What a read returns.
    current: Vec<u8>,
    since_sync: Vec<Operation>,
    written: u64,
}

/// Lets a number of operations pass and then none, until the node is started again.
#[derive(Debug, Clone, Default)]
pub struct Fuse(Arc<Mutex<Option<u64>>>);

impl Fuse {
    pub fn set(&self, operations: Option<u64>) {
        *self.0.lock().unwrap() = operations;
    }

    fn pass(&self) -> io::Result<()> {
        match &mut *self.0.lock().unwrap() {
            Some(0) => Err(io::Error::other("killed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Disk {
    contents: Arc<Mutex<Contents>>,
    fuse: Fuse,
}

impl Disk {
    pub fn new(fuse: Fuse) -> Self {
        Self { contents: Arc::default(), fuse }
    }

    /// A copy of the disk that has `bytes`.
    pub fn with(bytes: Vec<u8>) -> Self {
        let contents = Contents { synced: bytes.clone(), current: bytes, ..Contents::default() };
        Self { contents: Arc::new(Mutex::new(contents)), fuse: Fuse::default() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.contents.lock().unwrap().current.clone()
    }

    pub fn synced(&self) -> Vec<u8> {
        self.contents.lock().unwrap().synced.clone()
    }

    pub fn written(&self) -> u64 {
        self.contents.lock().unwrap().written
    }

    pub fn erase(&self) {
        *self.contents.lock().unwrap() = Contents::default();
    }

    /// Of each write since the last sync, each sector is there or not.
    pub fn cut_power(&self, rng: &mut Rng) {
        let contents = &mut *self.contents.lock().unwrap();
        let mut bytes = std::mem::take(&mut contents.synced);
        let share = rng.f64();
        for operation in contents.since_sync.drain(..) {
            match operation {
                Operation::Length(length) => bytes.resize(length, 0),
                Operation::Write(at, data) => {
                    let mut from = 0;
                    while from < data.len() {
                        let to = data.len().min((at + from) / SECTOR * SECTOR + SECTOR - at);
                        if rng.f64() < share {
                            bytes[at + from..at + to].copy_from_slice(&data[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        contents.current.clone_from(&bytes);
        contents.synced = bytes;
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.contents.lock().unwrap().current.len() as u64)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let contents = self.contents.lock().unwrap();
        let bytes = contents.current.get(at as usize..at as usize + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.fuse.pass()?;
        let contents = &mut *self.contents.lock().unwrap();
        contents.current.resize(length as usize, 0);
        contents.since_sync.push(Operation::Length(length as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fuse.pass()?;
        let contents = &mut *self.contents.lock().unwrap();
        for operation in contents.since_sync.drain(..) {
            match operation {
                Operation::Length(length) => contents.synced.resize(length, 0),
                Operation::Write(at, data) => {
                    contents.synced[at..at + data.len()].copy_from_slice(&data);
                }
            }
        }
        Ok(())
    }

    fn write(&self, at: u64, data: &[u8]) -> io::Result<()> {
        self.fuse.pass()?;
        let contents = &mut *self.contents.lock().unwrap();
        let at = at as usize;
        contents.current[at..at + data.len()].copy_from_slice(data);
        contents.since_sync.push(Operation::Write(at, data.to_vec()));
        contents.written += data.len() as u64;
        Ok(())
    }
}
