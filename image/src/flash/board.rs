//! An image for one node of a box: all nodes start from the same one, and a file on the EFI system
//! partition says which of them the flash is for.

use octet_appliance::{BoardFile, BoardId};

use super::image::put_on_esp;
use crate::output::sparse::Sparse;

/// Puts a file onto `disk` that says that it is for `board`.
///
/// # Errors
/// It is no image of Octet's; in words.
pub fn put(disk: &mut Sparse, board: BoardId) -> Result<(), String> {
    let text = BoardFile { board }.render();
    put_on_esp(disk, &[(BoardFile::PATH, text.as_bytes())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::{FlashError, ImageFile};
    use crate::output::esp;
    use crate::output::gpt::{self, DiskLayout};
    use std::io::{Seek, Write};
    use std::path::Path;

    /// An image with just what is looked at, and something behind it.
    fn image(path: &Path) -> Sparse {
        let folder = esp::EspItem { path: "octet".into(), content: None };
        let mut disk = Sparse::new(DiskLayout::Uefi.disk_size());
        gpt::write(&mut disk, DiskLayout::Uefi).unwrap();
        disk.write_part(
            DiskLayout::Uefi.esp_start(),
            esp::build(gpt::ESP_SIZE, 1_795_132_800, &[folder]).unwrap(),
        );
        disk.seek(std::io::SeekFrom::Start(DiskLayout::Uefi.esp_start() + gpt::ESP_SIZE)).unwrap();
        disk.write_all(b"data").unwrap();
        disk.write_to(&std::fs::File::create(path).unwrap()).unwrap();
        disk
    }

    fn of_router(image: &ImageFile) -> Result<ImageFile, FlashError> {
        image.copy_with(|disk| put(disk, BoardId::ROUTER))
    }

    fn digest(image: &ImageFile) -> crate::digest::Sha256 {
        let mut disk = Sparse::new(image.len());
        for range in image.data() {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            image.read(range.start, &mut bytes).unwrap();
            disk.seek(std::io::SeekFrom::Start(range.start)).unwrap();
            disk.write_all(&bytes).unwrap();
        }
        disk.digest()
    }

    #[test]
    fn only_the_esp_differs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("octet.img");
        let mut disk = image(&path);
        let plain = ImageFile::open(&path).unwrap();
        assert_eq!(digest(&plain), disk.digest());
        let of_board = of_router(&plain).unwrap();
        assert_eq!((of_board.len(), of_board.path()), (plain.len(), plain.path()));
        assert_eq!(digest(&of_board), digest(&of_router(&plain).unwrap()));
        assert_ne!(digest(&of_board), digest(&plain));
        assert_eq!(digest(&plain), disk.digest(), "the image itself is as it was");
        let mut part = disk
            .part(DiskLayout::Uefi.esp_start()..DiskLayout::Uefi.esp_start() + gpt::ESP_SIZE)
            .unwrap();
        esp::add(&mut part, [("octet/board.toml", &b"board = \"router\"\n"[..])]).unwrap();
        disk.write_part(DiskLayout::Uefi.esp_start(), part);
        assert_eq!(digest(&of_board), disk.digest());
    }

    #[test]
    fn only_images_of_octets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.img");
        std::fs::write(&path, [7; 1 << 20]).unwrap();
        let refused = of_router(&ImageFile::open(&path).unwrap());
        assert!(matches!(refused, Err(FlashError::BadImage { what, .. }) if what.contains("EFI")));
    }
}
