//! Which modules an image has, and who loads them.

use std::collections::BTreeMap;

use octet_appliance::nearest;

use super::{LoadTime, MissingModule, NamedModule};
use crate::appliance_file::nearest_hint;
use crate::seed::Modules;
use crate::target::Target;
use crate::tree::Because;

/// What PID 1 needs before there is a root file system.
const EARLY_MODULES: [&str; 2] = ["loop", "squashfs"];

/// What PID 1 needs to mount the flash: ext4 for data; FAT for the slots, with the character sets
/// of its short names (the kernel's defaults, CONFIG_FAT_DEFAULT_*) and of its long ones; and the firmware's variables,
/// of which one says which flash it is.
const FLASH_MODULES: [&str; 5] = ["ext4", "vfat", "nls_cp437", "nls_utf8", "efivarfs"];

/// Modules by name, each list in the order in which it is loaded.
#[derive(Debug, Default)]
pub struct ModuleSelection {
    /// Every module of the image.
    pub all: Vec<String>,
    /// Those that load before the root is there.
    pub early: Vec<String>,
    /// Those that load before base units that name them.
    pub first: Vec<String>,
    /// Those that load on a router, right after them.
    pub router: Vec<String>,
    /// Those that load at every start, after them.
    pub loaded: Vec<String>,
    /// Those that load before the flash is touched.
    pub disk: Vec<String>,
    reasons: BTreeMap<String, Because>,
}

impl ModuleSelection {
    /// The modules that starting needs, that the flash of `target` needs, and that are `named`.
    pub fn select(
        modules: &Modules,
        target: Target,
        named: &[NamedModule],
        notes: &mut Vec<String>,
    ) -> Result<Self, MissingModule> {
        let mut choice = Self::default();
        let because = Because::always("the root file system needs it");
        choice.early = choice.required(modules, &EARLY_MODULES, &because)?;
        let because = Because::always("PID 1 feeds it");
        choice.disk = choice.required(modules, target.watchdog_modules(), &because)?;
        let because = Because::always("PID 1 needs it to use the flash");
        let flash =
            [target.disk_modules(), &FLASH_MODULES, &[target.fat_charset_module()]].concat();
        let flash = choice.required(modules, &flash, &because)?;
        choice.disk.extend(flash);
        let because = Because::always(format!("a device of {target}"));
        choice.loaded = choice.required(modules, target.drivers(), &because)?;
        for named in named {
            choice.add_requested(modules, named, notes)?;
        }
        let Self { early, disk, first, router, loaded, .. } = &mut choice;
        for list in [disk, &mut *first, &mut *router, &mut *loaded] {
            list.retain(|name| !early.contains(name));
        }
        router.retain(|name| !first.contains(name));
        loaded.retain(|name| !first.contains(name));
        Ok(choice)
    }

    /// Why `name` is in the image.
    pub fn because(&self, name: &str) -> Because {
        self.reasons.get(name).cloned().unwrap_or_default()
    }

    /// `names` with what they need; a part of the kernel itself needs no loading.
    fn required(
        &mut self,
        modules: &Modules,
        names: &[&str],
        because: &Because,
    ) -> Result<Vec<String>, MissingModule> {
        let mut list = vec![];
        for name in names {
            if !modules.contains(name) && !modules.is_builtin(name) {
                let message = format!("there is no `{name}`: {}", because.chain);
                return Err(MissingModule::Required(message));
            }
            self.add(modules, name, because);
            modules.load(name, &mut list, &mut |_, _| {});
        }
        Ok(list)
    }

    fn add_requested(
        &mut self,
        modules: &Modules,
        named: &NamedModule,
        notes: &mut Vec<String>,
    ) -> Result<(), MissingModule> {
        let name = &named.name;
        if modules.is_builtin(name) {
            notes.push(format!("module {name} is built into the kernel"));
            return Ok(());
        }
        if !modules.contains(name) {
            let near = nearest(name, modules.names());
            let hint = nearest_hint(&near, "leave it out: the kernel has no such module");
            return Err(named.error(format!("there is no kernel module `{name}`"), hint).into());
        }
        self.add(modules, name, &named.because);
        match named.load_time {
            LoadTime::First => modules.load(name, &mut self.first, &mut |_, _| {}),
            LoadTime::Later => modules.load(name, &mut self.loaded, &mut |_, _| {}),
            LoadTime::OnRouter => modules.load(name, &mut self.router, &mut |_, _| {}),
            LoadTime::OnDemand => {}
        }
        Ok(())
    }

    /// Adds `name` with what it needs, and the reason for each that is new.
    fn add(&mut self, modules: &Modules, name: &str, because: &Because) {
        if !modules.contains(name) {
            return;
        }
        let reasons = &mut self.reasons;
        modules.load(name, &mut self.all, &mut |found, wanted_by| {
            let reason = match wanted_by {
                None => because.clone(),
                Some(by) => reasons.get(by).unwrap_or(because).then(found),
            };
            reasons.insert(found.to_owned(), reason);
        });
        // Another module may have brought it before: that it is asked for by name counts more.
        reasons.insert(name.to_owned(), because.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "a/loop.ko.gz:\na/squashfs.ko.gz: a/xxhash.ko.gz\na/xxhash.ko.gz:\n\
        a/virtio_blk.ko.gz:\na/ext4.ko.gz: a/jbd2.ko.gz a/mbcache.ko.gz\na/jbd2.ko.gz: a/xxhash.ko.gz\n\
        a/mbcache.ko.gz:\na/crc.ko.gz:\na/vfat.ko.gz: a/fat.ko.gz\na/fat.ko.gz:\na/nls_cp437.ko.gz:\n\
        a/nls_utf8.ko.gz:\na/efivarfs.ko.gz:\na/i6300esb.ko.gz:\n\
        a/tiny-power-button.ko.gz:\n";

    #[test]
    fn the_flash_has_a_list_of_its_own() {
        let builtin = "kernel/nls_iso8859_1.ko\n";
        let modules = Modules::parse(DEP, builtin, "softdep ext4 pre: crc\n");
        let choice =
            ModuleSelection::select(&modules, Target::QemuX86_64, &[], &mut vec![]).unwrap();
        assert_eq!(choice.early, ["loop", "xxhash", "squashfs"]);
        let disk = ["i6300esb", "virtio_blk", "crc", "mbcache", "jbd2", "ext4", "fat", "vfat"];
        assert_eq!(choice.disk[..8], disk);
        assert_eq!(choice.disk[8..], ["nls_cp437", "nls_utf8", "efivarfs"]);
        assert_eq!(choice.loaded, ["i6300esb", "tiny_power_button"]);
        assert_eq!(choice.because("jbd2").chain, "PID 1 needs it to use the flash -> jbd2");
        let modules = Modules::parse(DEP, "", "");
        let error =
            ModuleSelection::select(&modules, Target::QemuX86_64, &[], &mut vec![]).unwrap_err();
        assert!(error.to_string().contains("`nls_iso8859_1`"), "{error}");
    }
}
