//! Whose a disk is: the public key of the box, which PID 1 puts on the EFI system partition.

use std::fs::File;
use std::io::Read;

use fatfs::{FileSystem, FsOptions};
use fscommon::StreamSlice;
use octet_control::PublicKey;

use crate::output::gpt;

/// Where the key is, as a `did:key` and with a line break behind it.
const FILE: &str = "octet/node.pub";

/// More bytes than a key has there.
const MAX: u64 = 128;

/// The key on the disk `file`, if it was started and has said it.
pub fn read(file: &File) -> Option<PublicKey> {
    // Not a copy of it: when that is closed the kernel takes our locks away.
    let mut file = file;
    let esp = gpt::find_esp(&mut file)?;
    let esp = StreamSlice::new(file, esp.start, esp.end).ok()?;
    let esp = FileSystem::new(esp, FsOptions::new()).ok()?;
    let mut text = String::new();
    esp.root_dir().open_file(FILE).ok()?.take(MAX).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::esp::{EspItem, build};
    use crate::output::gpt::DiskLayout;
    use crate::output::sparse::Sparse;

    const KEY: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";

    fn disk(said: Option<&[u8]>) -> File {
        let mut items = vec![EspItem { path: "octet".into(), content: None }];
        items.extend(said.map(|said| EspItem { path: FILE.into(), content: Some(said) }));
        let mut disk = Sparse::new(DiskLayout::Uefi.disk_size());
        gpt::write(&mut disk, DiskLayout::Uefi).unwrap();
        disk.write_part(
            DiskLayout::Uefi.esp_start(),
            build(gpt::ESP_SIZE, 1_795_132_800, &items).unwrap(),
        );
        let file = tempfile::tempfile().unwrap();
        disk.write_to(&file).unwrap();
        file
    }

    #[test]
    fn a_disk_that_was_started_says_whose_it_is() {
        let key = read(&disk(Some(format!("{KEY}\n").as_bytes()))).unwrap();
        assert_eq!(key.to_string(), KEY);
        assert_eq!(read(&disk(None)), None);
        for wrong in [&b""[..], b"\x1b[31mnobody", &[b'A'; 4096]] {
            assert_eq!(read(&disk(Some(wrong))), None);
        }
        assert_eq!(read(&tempfile::tempfile().unwrap()), None);
    }
}
