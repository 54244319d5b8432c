use proptest::prelude::*;

use super::*;

const NAME: &str = "octet-data";

/// The random GUID of a first boot.
const OWN: [u8; 16] = [7; 16];

/// A disk of which only both ends are stored.
#[derive(Clone, PartialEq, Debug)]
struct Disk {
    head: Vec<u8>,
    tail: Vec<u8>,
    sectors: u64,
}

impl Disk {
    /// A disk of `sectors` sectors, as the builder makes it, on a medium of `medium` sectors.
    fn flashed(sectors: u64, medium: u64) -> Self {
        let mut entries = vec![0; ENTRIES * ENTRY];
        for (index, (name, first, last)) in
            [("octet-esp", 2048, 526_335), (NAME, 526_336, 559_103)].into_iter().enumerate()
        {
            let entry = &mut entries[index * ENTRY..(index + 1) * ENTRY];
            entry[..16].fill(index as u8 + 1);
            entry[GUID].copy_from_slice(&COMMON);
            entry[GUID.end - 1] = index as u8 + 2;
            entry[32..40].copy_from_slice(&u64::to_le_bytes(first));
            entry[40..48].copy_from_slice(&u64::to_le_bytes(last));
            for (place, unit) in name.encode_utf16().enumerate() {
                entry[56 + 2 * place..58 + 2 * place].copy_from_slice(&unit.to_le_bytes());
            }
        }
        let mut plain = [0; HEADER];
        plain[..8].copy_from_slice(b"EFI PART");
        plain[8..12].copy_from_slice(&0x1_0000_u32.to_le_bytes());
        plain[12..16].copy_from_slice(&(HEADER as u32).to_le_bytes());
        plain[40..48].copy_from_slice(&34_u64.to_le_bytes());
        plain[56..72].fill(9);
        plain[80..84].copy_from_slice(&(ENTRIES as u32).to_le_bytes());
        plain[84..88].copy_from_slice(&(ENTRY as u32).to_le_bytes());
        let mut head = vec![0; HEAD as usize * SECTOR];
        head[MBR_TYPE] = PROTECTIVE;
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head[SECTOR..SECTOR + HEADER].copy_from_slice(&header(
            &plain,
            &entries,
            sectors,
            TableCopy::Primary,
        ));
        head[2 * SECTOR..].copy_from_slice(&entries);
        let mut tail = vec![0; TAIL as usize * SECTOR];
        if sectors == medium {
            tail[..entries.len()].copy_from_slice(&entries);
            tail[entries.len()..entries.len() + HEADER].copy_from_slice(&header(
                &plain,
                &entries,
                sectors,
                TableCopy::Backup,
            ));
        }
        Self { head, tail, sectors: medium }
    }

    fn plan(&self) -> Result<GrowthPlan, TableProblem> {
        plan(&self.head, &self.tail, self.sectors, NAME, Some(&OWN))
    }

    fn write(&mut self, sector: u64, bytes: &[u8]) {
        let (place, at) = match sector.checked_sub(self.sectors - TAIL) {
            Some(at) => (&mut self.tail, at),
            None => (&mut self.head, sector),
        };
        let at = at as usize * SECTOR;
        place[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn finish(mut self) -> Self {
        for write in self.plan().unwrap().writes {
            self.write(write.sector, &write.bytes);
        }
        self
    }

    /// The table that firmware and kernel use: the primary one, or else the backup.
    fn is_readable(&self) -> bool {
        primary(&self.head).or(backup(&self.tail, self.sectors)).is_some()
    }
}

#[test]
fn grows_to_the_end_and_is_content() {
    let grown = Disk::flashed(561_152, 1_048_576).finish();
    let plan = grown.plan().unwrap();
    let end = (1_048_576 - TAIL) / ALIGN * ALIGN;
    assert_eq!(
        plan,
        GrowthPlan {
            data: PartitionExtent { first: 526_336, sectors: end - 526_336 },
            writes: vec![]
        }
    );
    assert_eq!(grown.head[MBR_SECTORS..MBR_SECTORS + 4], 1_048_575_u32.to_le_bytes());
}

/// All images have the same GUIDs; after its first boot a disk has a unique one, and keeps it.
#[test]
fn the_first_boot_gives_a_guid_once() {
    let guids = |disk: &Disk| {
        let entries = [&disk.head[2 * SECTOR..], &disk.tail[..]];
        entries.map(|entries| [0, 1].map(|index| entry(entries, index)[GUID].to_vec()))
    };
    let data = [&COMMON[..15], &[3]].concat();
    let flashed = Disk::flashed(561_152, 1_048_576);
    let text = |disk: &Disk| partition_guid(&disk.head, &disk.tail, disk.sectors, "octet-esp");
    assert_eq!(text(&flashed).as_deref(), Some("0c7e7000-0000-4000-8000-000000000002"));
    assert_eq!(partition_guid(&flashed.head, &flashed.tail, flashed.sectors, "other"), None);
    assert_eq!(guids(&flashed)[0], [COMMON.to_vec(), data.clone()]);
    let grown = flashed.clone().finish();
    assert_eq!(guids(&grown), [(); 2].map(|()| [OWN.to_vec(), data.clone()]));
    // Another random GUID changes nothing, and neither does a boot that is not the first.
    let again = plan(&grown.head, &grown.tail, grown.sectors, NAME, Some(&[8; 16])).unwrap();
    assert_eq!(again.writes, []);
    let mut later = flashed;
    for write in plan(&later.head, &later.tail, later.sectors, NAME, None).unwrap().writes {
        later.write(write.sector, &write.bytes);
    }
    assert_eq!(guids(&later)[1], [COMMON.to_vec(), data]);
}

/// On boards that U-Boot starts, the third entry is a partition before the two others, and the master boot
/// record names the EFI system partition, too.
#[test]
fn a_disk_for_boards_grows_and_stays_one() {
    let mut disk = Disk::flashed(561_152, 1_048_576);
    let esp = [0, 0xfe, 0xff, 0xff, 0x0c, 0xfe, 0xff, 0xff, 0, 8, 0, 0, 0, 0, 8, 0];
    let protective = [0, 0, 2, 0, PROTECTIVE, 0, 0, 0, 1, 0, 0, 0, 0xff, 7, 0, 0];
    let record = [esp, protective].concat();
    disk.head[446..478].copy_from_slice(&record);
    let mut entries = disk.head[2 * SECTOR..].to_vec();
    let mut third = entry(&entries, 0).to_vec();
    third[GUID.end - 1] = 9;
    third[32..48].copy_from_slice(&[40_u64, 47].map(u64::to_le_bytes).concat());
    entries[2 * ENTRY..3 * ENTRY].copy_from_slice(&third);
    let source = disk.head[SECTOR..2 * SECTOR].to_vec();
    let summed = header(&source, &entries, disk.sectors, TableCopy::Primary);
    disk.head[SECTOR..SECTOR + HEADER].copy_from_slice(&summed);
    disk.head[2 * SECTOR..].copy_from_slice(&entries);
    let grown = disk.finish();
    assert_eq!(grown.head[446..478], record);
    assert_eq!(grown.plan().unwrap(), GrowthPlan { writes: vec![], ..grown.plan().unwrap() });
    assert_eq!(grown.plan().unwrap().data.first, 526_336);
    for entries in [&grown.head[2 * SECTOR..], &grown.tail[..]] {
        assert_eq!(entry(entries, 2), third);
        assert_eq!(entry(entries, 0)[GUID], OWN);
    }
}

#[test]
fn says_why_not() {
    let disk = Disk::flashed(561_152, 561_152);
    assert!(disk.plan().is_ok());
    assert_eq!(
        plan(&disk.head, &disk.tail, disk.sectors, "x", None),
        Err(TableProblem::NoPartition("x".into()))
    );
    assert_eq!(
        plan(&disk.head, &disk.tail, disk.sectors, "octet-esp", None),
        Err(TableProblem::NotLast("octet-esp".into()))
    );
    let small = Disk::flashed(561_152, 540_000);
    let name = NAME.to_owned();
    let expected = TableProblem::TooSmall { sectors: 540_000, name, last: 559_103 };
    assert_eq!(small.plan(), Err(expected));
    let mut none = disk.clone();
    none.head[SECTOR] ^= 1;
    assert!(none.plan().is_ok(), "the backup is whole");
    none.tail[0] ^= 1;
    assert_eq!(none.plan(), Err(TableProblem::NoTable));
}

proptest! {
    /// A power cut after any sector of any write, with the write's sectors in either order: one
    /// table is valid, and the next boot reaches the same result.
    #[test]
    fn a_cut_is_finished_by_the_next_boot(
        medium in 600_000_u64..10_000_000, cut in 0_usize..100, backwards: bool, damaged: bool
    ) {
        let mut disk = Disk::flashed(561_152, medium);
        let grown = disk.clone().finish();
        if damaged {
            // The primary table is lost, but the backup is at the end.
            disk = grown.clone();
            disk.head[700] ^= 1;
        }
        let writes = disk.plan().unwrap().writes;
        let mut left = cut;
        for write in writes {
            let mut pieces: Vec<_> = write.bytes.chunks(SECTOR).enumerate().collect();
            if backwards {
                pieces.reverse();
            }
            for (place, piece) in pieces {
                if left == 0 {
                    break;
                }
                left -= 1;
                disk.write(write.sector + place as u64, piece);
            }
        }
        prop_assert!(disk.is_readable());
        let finished = disk.finish();
        prop_assert_eq!(&finished, &grown);
        prop_assert!(finished.plan().unwrap().writes.is_empty());
    }

    #[test]
    fn damage_never_panics(
        head in prop::collection::vec((0_usize..34 * 512, any::<u8>()), 0..20),
        tail in prop::collection::vec((0_usize..33 * 512, any::<u8>()), 0..20),
        sectors in 0_u64..2_000_000,
    ) {
        let mut disk = Disk::flashed(561_152, 1_048_576).finish();
        head.into_iter().for_each(|(at, byte)| disk.head[at] = byte);
        tail.into_iter().for_each(|(at, byte)| disk.tail[at] = byte);
        let _ = plan(&disk.head, &disk.tail, sectors, NAME, Some(&OWN));
    }
}
