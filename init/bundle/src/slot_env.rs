//! What U-Boot reads of the slot in one place: a text of lines `name=value`, for `env import -t`.
//! Beside the boot loader's entry it has the same content in U-Boot's words.

use crate::text::SlotName;

/// A file `octet/a.env` or `octet/b.env` of the EFI system partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotEnv {
    pub slot: SlotName,
    /// The path of the kernel, from the root of the partition on, with a leading `/`.
    pub linux: String,
    /// The path of the initramfs.
    pub initrd: String,
    /// The path of the device trees, if the slot has some.
    pub dtb: Option<String>,
    /// The kernel's command line with the slot's name, without the trial.
    pub options: String,
    /// Seconds of a trial; `None` if there is no other slot to return to.
    pub trial: Option<u32>,
}

impl SlotEnv {
    /// The file's text. U-Boot takes a character after a backslash as it is, so a backslash is
    /// written twice. A name without a value removes the variable there.
    pub fn render(&self) -> String {
        let Self { slot, linux, initrd, dtb, options, trial } = self;
        let trial = trial.map(|seconds| seconds.to_string()).unwrap_or_default();
        let mut text = format!(
            "slot={slot}\nlinux={linux}\ninitrd={initrd}\noptions={options}\ntrial={trial}\n"
        );
        if let Some(dtb) = dtb {
            text += &format!("dtb={dtb}\n");
        }
        text.replace('\\', "\\\\")
    }

    /// Parses the file's text; `None` if it names no slot, kernel or initramfs: U-Boot could start
    /// nothing then. Other names are ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace("\\\\", "\\");
        let value = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.filter(|value| !value.is_empty())
        };
        Some(Self {
            slot: value("slot")?.parse().ok()?,
            linux: value("linux")?.to_owned(),
            initrd: value("initrd")?.to_owned(),
            dtb: value("dtb").map(str::to_owned),
            options: value("options").unwrap_or_default().to_owned(),
            trial: value("trial").and_then(|seconds| seconds.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text of the agreed format.
    const TEXT: &str = "slot=0.3.0-abcdef01\n\
                        linux=/octet/0.3.0-abcdef01/linux\n\
                        initrd=/octet/0.3.0-abcdef01/initrd\n\
                        options=quiet panic=3 rdinit=/init octet.slot=0.3.0-abcdef01\n\
                        trial=300\n";

    #[test]
    fn text() {
        let env = SlotEnv::parse(TEXT).unwrap();
        assert_eq!((env.slot.as_str(), env.trial), ("0.3.0-abcdef01", Some(300)));
        assert_eq!((env.render().as_str(), &env.dtb), (TEXT, &None));
        let with_trees = format!("{TEXT}dtb=/octet/0.3.0-abcdef01/dtb\n");
        let env = SlotEnv::parse(&with_trees).unwrap();
        assert_eq!(env.dtb.as_deref(), Some("/octet/0.3.0-abcdef01/dtb"));
        assert_eq!(env.render(), with_trees);
        assert_eq!(SlotEnv::parse(&TEXT.replace("=300", "=")).unwrap().trial, None);
        // A power cut leaves nothing, or zeros.
        for bad in ["", "\0\0\0\0", &TEXT[..30], &TEXT.replace("slot=0", "slot=/0")] {
            assert_eq!(SlotEnv::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            options in "[ -~]{1,80}", path in "[a-z./0-9-]{1,40}", trial: Option<u32>,
            has_trees: bool, text in "\\PC*",
        ) {
            let _ = SlotEnv::parse(&text);
            let slot = "1-a".parse().unwrap();
            let env = SlotEnv {
                slot,
                linux: path.clone(),
                initrd: path.clone(),
                dtb: has_trees.then_some(path),
                options,
                trial,
            };
            prop_assert_eq!(SlotEnv::parse(&env.render()), Some(env));
        }
    }
}
