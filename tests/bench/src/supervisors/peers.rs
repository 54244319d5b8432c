//! How the peers are set up: each as its documentation has it for a PID 1, with no program between
//! it and the units, and with the shortest pause before a restart that it allows.

use std::path::Path;

use super::programs::Programs;
use super::root::{Root, UnusableRoot};

/// A supervisor that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherSupervisor {
    /// s6-svscan as PID 1, with one s6-supervise per unit.
    S6,
    /// runit as PID 1, below it runsvdir with one runsv per unit.
    Runit,
    /// finit as PID 1, which starts the units itself.
    Finit,
}

impl OtherSupervisor {
    pub const ALL: [Self; 3] = [Self::S6, Self::Runit, Self::Finit];

    /// Its name, which is also that of its package.
    pub fn name(self) -> &'static str {
        match self {
            Self::S6 => "s6",
            Self::Runit => "runit",
            Self::Finit => "finit",
        }
    }

    /// The initramfs of its guest, with `units` trivial units and the referee.
    pub fn initrd(
        self,
        packages: &Path,
        programs: &Programs,
        units: u32,
    ) -> Result<Vec<u8>, UnusableRoot> {
        let mut root = Root::new(packages);
        root.file("/init", 0o755, programs.stage.clone());
        root.file("/bin/idle", 0o755, programs.idle.clone());
        root.file("/bin/referee", 0o755, programs.referee.clone());
        let own: &[&str] = match self {
            Self::S6 => {
                root.file("/init.argv", 0o644, include_str!("s6/init.argv"));
                services(&mut root, units);
                // Without news of when a unit was ready, s6 waits a second before any restart
                // (s6-supervise.c, `nextstart`).
                for unit in 1..=units {
                    root.file(&format!("/service/{unit}/notification-fd"), 0o644, "1\n");
                }
                &["/usr/bin/s6-svscan", "/usr/bin/s6-supervise"]
            }
            Self::Runit => {
                root.file("/init.argv", 0o644, include_str!("runit/init.argv"));
                // Stage 1 has nothing to do, stage 2 is one program: both are ours, where Debian has
                // shell scripts.
                for (stage, list) in [("1", ""), ("2", include_str!("runit/2.argv"))] {
                    root.link(&format!("/etc/runit/{stage}"), "/init");
                    root.file(&format!("/etc/runit/{stage}.argv"), 0o644, list);
                }
                services(&mut root, units);
                &["/sbin/runit", "/usr/bin/runsvdir", "/usr/bin/runsv"]
            }
            Self::Finit => {
                root.file("/init.argv", 0o644, include_str!("finit/init.argv"));
                root.file("/etc/finit.conf", 0o644, finit_conf(units));
                root.file("/etc/fstab", 0o644, "");
                // A plug-in would make it: finit keeps its socket there.
                root.link("/var/run", "/run");
                &["/sbin/finit"]
            }
        };
        for program in own {
            root.program(program)?;
        }
        Ok(root.pack())
    }
}

/// One folder per unit, for s6 and runit alike. `run` is the program itself, which learns its number
/// from the folder's name.
fn services(root: &mut Root<'_>, units: u32) {
    for unit in 1..=units {
        root.link(&format!("/service/{unit}/run"), "/bin/idle");
    }
    root.link("/service/referee/run", "/bin/referee");
}

fn finit_conf(units: u32) -> String {
    let unit = |n: u32| include_str!("finit/unit.conf").replace("{n}", &n.to_string());
    let mut text: String = (1..=units).map(unit).collect();
    text += include_str!("finit/referee.conf");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finit_has_a_line_for_each() {
        assert_eq!(
            finit_conf(2),
            "service [S12345] respawn name:idle :1 /bin/idle 1 --\n\
             service [S12345] respawn name:idle :2 /bin/idle 2 --\n\
             service [S12345] respawn name:referee /bin/referee --\n"
        );
    }

    #[test]
    fn the_first_stage_starts_what_is_there() {
        for (list, program) in [
            (include_str!("s6/init.argv"), "/usr/bin/s6-svscan"),
            (include_str!("runit/init.argv"), "/sbin/runit"),
            (include_str!("runit/2.argv"), "/usr/bin/runsvdir"),
            (include_str!("finit/init.argv"), "/sbin/finit"),
        ] {
            assert_eq!(list.lines().next(), Some(program));
            assert!(list.ends_with('\n') && !list.contains(' '), "{list}");
        }
    }
}
