//! Random bytes, and power cuts during the repair.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::folder::{self, SLOT};
use super::super::{RepairPlan, is_dirty, plan};
use super::damage::{Damage, END, damaged, damages};
use super::disk::{Disk, FILES};

/// What is written before a power cut: this many whole stages, and of the next one the sectors for
/// which there is a `true`; the list is repeated.
#[derive(Debug, Clone)]
struct Cut {
    stages: usize,
    takes: Vec<bool>,
}

fn cut() -> impl Strategy<Value = Cut> {
    (0_usize..5, prop::collection::vec(any::<bool>(), 1..64))
        .prop_map(|(stages, takes)| Cut { stages, takes })
}

impl Cut {
    fn of(&self, disk: &Disk, plan: &RepairPlan) -> Disk {
        let mut disk = disk.clone();
        let mut takes = self.takes.iter().copied().cycle();
        for (index, stage) in plan.stages.iter().enumerate().take(self.stages + 1) {
            for write in stage {
                disk.write(write, || index < self.stages || takes.next().unwrap());
            }
        }
        disk
    }
}

/// Checks that the volume is well after its plan, and that a power cut does not change the result.
fn check(disk: &Disk, plan: &RepairPlan, cut: &Cut) {
    let end = disk.after(plan);
    assert_eq!(super::super::plan(&end).unwrap(), RepairPlan::default());
    assert!(!is_dirty(&end).unwrap());
    let cut = cut.of(disk, plan);
    assert!(cut.is_like(disk) || cut.is_like(&end) || is_dirty(&cut).unwrap());
    assert!(cut.tidied().is_like(&end));
}

/// Values for meaningful fields: which field, where, and the value.
fn bytes() -> impl Strategy<Value = Vec<(u8, u64, u32)>> {
    prop::collection::vec((0_u8..12, any::<u64>(), any::<u32>()), 0..8)
}

fn spoil(disk: &mut Disk, bytes: &[(u8, u64, u32)]) {
    let volume = disk.volume();
    let slots = disk.slots(disk.find(&["FOLDER"]).first);
    // The clusters of all files, and some free ones.
    let clusters = disk.file(FILES - 1).first + 200;
    for (what, place, value) in bytes {
        let byte = [*value as u8];
        let cluster = (*place % u64::from(clusters)) as u32;
        match what {
            0 => disk.put(place % 64, &byte),
            1 => disk.put(volume.info * 512 + place % 512, &byte),
            2..=4 => disk.link(1 + (value & 1) as usize, cluster, value % clusters),
            5..=7 => disk.link(1, cluster, 0),
            8 => disk.link(1, cluster, END - value % 12),
            9 | 10 => {
                let slot = slots[*place as usize % slots.len()];
                disk.put(slot + u64::from(value >> 27), &byte);
            }
            _ => disk.put(volume.sector(2) * 512 + place % 512, &byte),
        }
    }
}

fn cases() -> u32 {
    if std::env::var_os("OCTET_SOAK").is_some() { 1000 } else { 400 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn a_cut_is_finished_by_the_next_boot(damages in damages(), cut in cut()) {
        let mut disk = damaged(&damages);
        Damage::Mounted.harm(&mut disk, FILES - 1);
        check(&disk, &plan(&disk).unwrap(), &cut);
    }

    #[test]
    fn any_damage_is_mended_or_refused(damages in damages(), bytes in bytes(), cut in cut()) {
        let mut disk = damaged(&damages);
        spoil(&mut disk, &bytes);
        if let Ok(plan) = plan(&disk) {
            check(&disk, &plan, &cut);
        }
    }

    #[test]
    fn any_first_sector_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 80)) {
        let mut disk = Disk::made();
        disk.put(11, &bytes[11..]);
        let _ = plan(&disk);
        // Fields whose wrong value would be rejected at once get a valid one.
        disk.put(11, &[0, 2, 1 << (bytes[13] % 8)]);
        disk.put(16, &[2, 0, 0, 0, 0]);
        disk.put(22, &[0, 0]);
        disk.put(35, &[0]);
        disk.put(40, &[0; 4]);
        let _ = plan(&disk);
    }

    #[test]
    fn any_folder_is_read_or_refused(slots in prop::collection::vec(any::<[u8; SLOT]>(), 0..20)) {
        let mut bytes = slots.concat();
        let _ = folder::read(&bytes);
        // The same with slots of long names.
        for (index, slot) in bytes.chunks_mut(SLOT).enumerate() {
            slot[0] &= 0x43;
            slot[11] = if index % 5 == 4 { 0x20 } else { 0x0F };
            slot[13] = 7;
        }
        if let Ok(content) = folder::read(&bytes) {
            let entries = content.entries.into_iter().flat_map(|entry| entry.slots);
            let slots: Vec<usize> = content.orphans.into_iter().chain(entries).collect();
            let all: BTreeSet<usize> = slots.iter().copied().collect();
            prop_assert_eq!(all.len(), slots.len(), "a slot is taken twice");
        }
    }
}
