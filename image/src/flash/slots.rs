//! The files of an EFI system partition, as `octet_esp` reads and writes slots there.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{Dir, FileSystem, FsOptions};
use octet_esp::medium::{FolderItem, Medium};

use super::volume::{BlockDevice, FatVolume};
use crate::output::esp::{self, dot_entries};

/// The files on a volume. What is changed is written when it is synced.
pub struct Slots<'a, S> {
    volume: RefCell<FatVolume<'a, S>>,
    options: FsOptions,
}

impl<'a, S: BlockDevice> Slots<'a, S> {
    /// Those on `volume`; new ones get the time `epoch`, in seconds since 1970.
    pub fn new(volume: FatVolume<'a, S>, epoch: u32) -> Self {
        Self { volume: RefCell::new(volume), options: esp::options(epoch) }
    }

    /// The volume, with its free clusters counted, and unmounted.
    pub fn close(self) -> io::Result<FatVolume<'a, S>> {
        self.free()?;
        let mut volume = self.volume.into_inner();
        volume.sync()?;
        volume.set_dirty(false)?;
        Ok(volume)
    }

    /// Does something in the root.
    fn in_root<R>(
        &self,
        act: impl FnOnce(&Dir<'_, &mut FatVolume<'a, S>>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.mounted(|fs| act(&fs.root_dir()))
    }

    fn mounted<R>(
        &self,
        act: impl FnOnce(&FileSystem<&mut FatVolume<'a, S>>) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut volume = self.volume.borrow_mut();
        volume.rewind()?;
        let fs = FileSystem::new(&mut *volume, self.options)?;
        let done = act(&fs)?;
        fs.unmount()?;
        Ok(done)
    }
}

impl<S: BlockDevice> Medium for Slots<'_, S> {
    fn list(&self, folder: &str) -> io::Result<Vec<FolderItem>> {
        self.in_root(|root| {
            let folder = match root.open_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
                other => other?,
            };
            let mut items = vec![];
            for entry in folder.iter() {
                let entry = entry?;
                let (name, size) = (entry.file_name(), entry.is_file().then(|| entry.len()));
                if !matches!(&*name, "." | "..") {
                    items.push(FolderItem { name, size });
                }
            }
            Ok(items)
        })
    }

    fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        self.in_root(|root| {
            let mut bytes = vec![];
            root.open_file(path)?.take(limit).read_to_end(&mut bytes)?;
            Ok(bytes)
        })
    }

    fn read_at(&self, path: &str, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.in_root(|root| {
            let mut file = root.open_file(path)?;
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(bytes)
        })
    }

    fn free(&self) -> io::Result<u64> {
        self.mounted(|fs| {
            let stats = fs.stats()?;
            Ok(u64::from(stats.free_clusters()) * u64::from(stats.cluster_size()))
        })
    }

    fn make_folder(&mut self, path: &str) -> io::Result<()> {
        self.in_root(|root| root.create_dir(path).map(drop))?;
        dot_entries::repair(&mut *self.volume.borrow_mut())
    }

    fn create(&mut self, path: &str) -> io::Result<()> {
        self.in_root(|root| root.create_file(path)?.truncate())
    }

    fn append(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.in_root(|root| {
            let mut file = root.open_file(path)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(bytes)?;
            file.flush()
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.in_root(|root| root.rename(from, root, to))
    }

    fn remove(&mut self, path: &str) -> io::Result<()> {
        self.in_root(|root| root.remove(path))
    }

    fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        self.remove(path)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.volume.borrow_mut().sync()
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.volume.borrow_mut().reopen();
        Ok(())
    }
}
