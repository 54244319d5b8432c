//! The slot on the disk image: what is flashed is what is sent.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use fatfs::{FileSystem, FsOptions};
use octet_bundle::{Manifest, SlotName};

use super::error::UpdateError;
use crate::output::gpt::find_esp;
use crate::output::sparse::Sparse;

/// The slot of an image.
#[derive(Debug)]
pub struct ImageSlot {
    pub manifest: Manifest,
    /// The content of its files, in the order of its manifest.
    pub files: Vec<Vec<u8>>,
}

impl ImageSlot {
    /// Reads the slot `name` from the disk image at `path`.
    ///
    /// # Errors
    /// It cannot be read, or is not as the builder makes it.
    pub fn read(path: &Path, name: &SlotName) -> Result<Self, UpdateError> {
        let unreadable = |why| {
            let help = "build the image first: `cargo image build`";
            UpdateError::Read { path: path.to_owned(), why, help }
        };
        let wrong = |problem: String| UpdateError::Image { path: path.to_owned(), problem };
        let mut disk = File::open(path).and_then(|file| Sparse::read(&file)).map_err(unreadable)?;
        let place = find_esp(&mut disk)
            .ok_or_else(|| wrong("it has no EFI system partition of Octet's".to_owned()))?;
        let mut esp = disk.part(place).map_err(unreadable)?;
        esp.rewind().map_err(unreadable)?;
        let fs = FileSystem::new(esp, FsOptions::new()).map_err(unreadable)?;
        let content = |path: &str| {
            let mut bytes = vec![];
            let file = fs.root_dir().open_file(path);
            let read = file.and_then(|mut file| file.read_to_end(&mut bytes));
            read.map(|_| bytes).map_err(|error| wrong(format!("{path}: {error}")))
        };
        let manifest = content(&name.manifest())?;
        let manifest = Manifest::parse(&manifest).map_err(|error| wrong(error.to_string()))?;
        let files = manifest.files.all().map(|(kind, _)| content(&name.file(kind)));
        let files = files.collect::<Result<_, _>>()?;
        Ok(Self { manifest, files })
    }
}
