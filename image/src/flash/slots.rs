//! The files of an EFI system partition, as `octet_esp` reads and writes slots there.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{Dir, FileSystem, FsOptions};
use octet_esp::boot_state::{COPY_OFFSETS, COPY_SIZE, StateCopies, StateWrite};
use octet_esp::medium::{FolderItem, Medium};

use super::buffer::{ALIGNMENT, Buffer};
use super::error::FlashFault;
use super::volume::{BlockDevice, FatVolume};
use crate::output::esp::{self, dot_entries};

/// The files on a volume. What is changed is written when it is synced.
pub struct Slots<'a, S> {
    volume: RefCell<FatVolume<'a, S>>,
    options: FsOptions,
    /// The disk of the boot state, and where that begins there.
    boot_state: Option<(&'a S, u64)>,
}

impl<'a, S: BlockDevice> Slots<'a, S> {
    /// Those on `volume`; new ones get the time `epoch`, in seconds since 1970.
    pub fn new(volume: FatVolume<'a, S>, epoch: u32) -> Self {
        Self { volume: RefCell::new(volume), options: esp::options(epoch), boot_state: None }
    }

    /// The same with the boot state that begins at `start` of `disk`. Entries count nevertheless: the
    /// firmware may be any.
    pub fn with_boot_state(self, disk: &'a S, start: Option<u64>) -> Self {
        Self { boot_state: start.map(|start| (disk, start)), ..self }
    }

    /// The pages of the boot state that begin with a copy.
    fn state_pages(&self) -> io::Result<[(u64, Buffer); 2]> {
        let (disk, start) = self.boot_state.ok_or(io::ErrorKind::Unsupported)?;
        let [a, b] = COPY_OFFSETS.map(|offset| {
            let mut page = Buffer::new(ALIGNMENT);
            disk.read(start + offset, &mut page).map_err(io::Error::other)?;
            Ok::<_, io::Error>((start + offset, page))
        });
        Ok([a?, b?])
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

    fn boot_state(&self) -> io::Result<StateCopies> {
        Ok(copies(&self.state_pages()?))
    }

    /// Of the page that is written only the copy changes, and a copy is one sector: it is on the medium
    /// or not.
    fn change_boot_state(
        &mut self,
        change: impl FnOnce(&StateCopies) -> io::Result<Option<StateWrite>>,
    ) -> io::Result<()> {
        let (disk, start) = self.boot_state.ok_or(io::ErrorKind::Unsupported)?;
        let pages = self.state_pages()?;
        let Some(StateWrite { offset, bytes }) = change(&copies(&pages))? else { return Ok(()) };
        let page = pages.into_iter().find(|(at, _)| *at == start + offset);
        let (at, mut page) = page.ok_or(io::ErrorKind::InvalidInput)?;
        page[..COPY_SIZE].copy_from_slice(&bytes);
        let mut found = Buffer::new(ALIGNMENT);
        let written = disk.write(at, &page).and_then(|()| disk.sync());
        written.and_then(|()| disk.read(at, &mut found)).map_err(io::Error::other)?;
        match page.iter().zip(&*found).position(|(ours, theirs)| ours != theirs) {
            None => Ok(()),
            Some(differ) => Err(io::Error::other(FlashFault::Mismatch {
                at: at + differ as u64,
                ours: page[differ],
                theirs: found[differ],
            })),
        }
    }
}

fn copies(pages: &[(u64, Buffer); 2]) -> StateCopies {
    let mut copies = [[0; COPY_SIZE]; 2];
    for (copy, (_, page)) in copies.iter_mut().zip(pages) {
        copy.copy_from_slice(&page[..COPY_SIZE]);
    }
    copies
}
