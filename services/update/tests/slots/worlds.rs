//! Plans for random slots, checked against independently written rules.

use std::collections::BTreeSet;

use octet_esp::contents::EspContents;
use octet_update::plan::{RunningSystem, plan};
use proptest::prelude::*;

use crate::flash::Flash;
use crate::release::{Release, noise};

/// Random slots: the number, the counter, and which kernel each has.
fn slots() -> impl Strategy<Value = Vec<(u64, u8, u32)>> {
    prop::collection::vec((1..12u64, 0..3u8, 1..4u32), 1..5)
}

fn counter(kind: u8) -> &'static str {
    ["", "+2-1", "+0-3"][usize::from(kind)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_running_one_and_the_last_good_one_stay(
        slots in slots(), runs: prop::sample::Index, new in 1..14u64, kernel in 1..4u32, floor in 0..8u64,
    ) {
        let mut flash = Flash::new(4 << 20);
        let mut all: Vec<(Release, u8)> = vec![];
        for (sequence, kind, kernel) in slots {
            if all.iter().all(|(release, _)| release.manifest.sequence != sequence) {
                let release = Release::new(sequence, noise(kernel, 3000), noise(50 + sequence as u32, 3000));
                release.flash(&mut flash, counter(kind));
                all.push((release, kind));
            }
        }
        let (running, _) = &all[runs.index(all.len())];
        let update = Release::new(new, noise(kernel, 3000), noise(90, 3000));
        let present = EspContents::read(&flash).unwrap();
        let this = RunningSystem { running: running.name(), floor };
        let plan = plan(&present, this, &update.manifest);

        prop_assert_eq!(plan.is_ok(), new > running.manifest.sequence && new >= floor);
        let Ok(plan) = plan else { return Ok(()) };
        let good = all.iter().filter(|(it, kind)| *kind == 0 && it.name() != running.name());
        let last = good.max_by_key(|(release, _)| release.manifest.sequence);
        let stay: BTreeSet<&str> =
            last.into_iter().map(|(release, _)| release.name()).chain([running.name()]).collect();
        for (release, kind) in &all {
            let name = release.name();
            let entry = format!("loader/entries/octet-{name}{}.conf", counter(*kind));
            prop_assert_eq!(plan.entries.contains(&entry), !stay.contains(name));
            for file in ["linux", "initrd", "manifest.json"] {
                let path = format!("octet/{name}/{file}");
                prop_assert_eq!(plan.files.contains(&path), !stay.contains(name));
            }
            prop_assert_eq!(plan.folders.contains(&format!("octet/{name}")), !stay.contains(name));
        }
        let same = all.iter().any(|(it, _)| stay.contains(it.name()) && it.linux == update.linux);
        prop_assert_eq!(plan.shared.len(), usize::from(same));
        prop_assert_eq!(plan.written.len() + plan.shared.len(), 2);
    }
}
