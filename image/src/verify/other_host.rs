//! Another user on another machine, as far as this one can play that.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use octet_machine::find_program;

/// How far ahead its clock is, in the words of date(1).
const CLOCK_OFFSET: &str = "400 days";

const NAME: &str = "another-host";

/// Programs that compile, each found through `PATH`. The builder passes on few variables, among
/// them `PATH`, but not those that move the clock.
const COMPILERS: [&str; 2] = ["cargo", "rustc"];

/// Says, line by line, what a program may find different.
const PROBE: &str = "umask; date +%s; cat /proc/sys/kernel/hostname; nproc; \
    printf '%s\\n' \"$HOME\" \"${TZ-}\" \"${LC_ALL-}\" \"${USER-}\"";

const FACTS: [&str; 8] =
    ["umask", "clock", "host name", "processors", "HOME", "time zone", "locale", "user name"];

/// Runs programs in the other environment.
pub struct OtherHost {
    cpu: String,
    /// Options of unshare(1), if the host's name can be another one.
    name: Option<&'static [&'static str]>,
    environment: Vec<(&'static str, OsString)>,
}

impl OtherHost {
    /// Puts what it needs into the new folder `at`; its builds use the store at `store`.
    pub fn new(at: &Path, store: &Path) -> io::Result<Self> {
        let [home, tools] = ["home", "bin"].map(|name| at.join(name));
        fs::create_dir_all(&home)?;
        fs::create_dir_all(&tools)?;
        for name in COMPILERS {
            if let Some(program) = find_program(name) {
                let text = format!(
                    "#!/bin/sh\nexec datefudge \"{CLOCK_OFFSET}\" {} \"$@\"\n",
                    quoted(&program)
                );
                fs::write(tools.join(name), text)?;
                fs::set_permissions(tools.join(name), Permissions::from_mode(0o700))?;
            }
        }
        let mut path = tools.into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let options: [&'static [&'static str]; 2] = [&["--uts"], &["--uts", "--map-root-user"]];
        Ok(Self {
            cpu: first_cpu()?,
            name: options.into_iter().find(|options| can_set_hostname(options)),
            environment: vec![
                ("PATH", path),
                ("HOME", home.into()),
                ("OCTET_STORE", store.into()),
                ("CARGO_HOME", tool_home("CARGO_HOME", ".cargo")),
                ("RUSTUP_HOME", tool_home("RUSTUP_HOME", ".rustup")),
                ("CARGO_TERM_COLOR", "never".into()),
                ("TZ", "Pacific/Chatham".into()),
                ("LC_ALL", "tr_TR.UTF-8".into()),
                ("LANG", "tr_TR.UTF-8".into()),
                ("USER", "somebody-else".into()),
                ("LOGNAME", "somebody-else".into()),
            ],
        })
    }

    /// `program` there.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &self.cpu]);
        let mut script = String::from("umask 077; ");
        if let Some(options) = self.name {
            command.arg("unshare").args(options);
            script += &format!("echo {NAME} > /proc/sys/kernel/hostname; ");
        }
        script += "exec datefudge \"$0\" \"$@\"";
        command.args(["sh", "-c", &script, CLOCK_OFFSET]).arg(program);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        for name in ["CARGO_TARGET_DIR", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        command
    }

    /// What is different there, and what is not: one line each.
    ///
    /// # Errors
    /// No program can be run there.
    pub fn differences(&self) -> io::Result<(Vec<String>, Vec<String>)> {
        let mut here = Command::new("sh");
        let mut there = self.command(Path::new("sh"));
        let [here, there] = [&mut here, &mut there].map(probe);
        let (mut varied, mut not) = (vec![], vec![]);
        for ((fact, here), there) in FACTS.into_iter().zip(here?).zip(there?) {
            let (differs, line) = match fact {
                "clock" => clock(&here, &there),
                _ => (here != there, format!("{fact}: {}, not {}", shown(&there), shown(&here))),
            };
            match differs {
                true => varied.push(line),
                false => not.push(format!("{fact}: {}", shown(&here))),
            }
        }
        Ok((varied, not))
    }
}

/// Whether and how far the clock is ahead.
fn clock(here: &str, there: &str) -> (bool, String) {
    let seconds = |text: &str| text.parse::<i64>().unwrap_or(0);
    let days = (seconds(there) - seconds(here)) / (24 * 60 * 60);
    (days > 30, format!("clock: {days} days ahead (rustc, cargo and the builder; zig is static)"))
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "unset" } else { text }
}

fn probe(command: &mut Command) -> io::Result<Vec<String>> {
    let output = command.args(["-c", PROBE]).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let stderr = || io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    if lines.len() == FACTS.len() { Ok(lines) } else { Err(stderr()) }
}

/// Whether unshare(1) with these options lets us rename the host.
fn can_set_hostname(options: &[&str]) -> bool {
    let script = format!("echo {NAME} > /proc/sys/kernel/hostname");
    let status = Command::new("unshare")
        .args(options)
        .args(["sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// One of the processors that we may run on.
fn first_cpu() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.ok_or_else(|| io::Error::other("the kernel does not say where we may run"))?;
    Ok(list.trim().split([',', '-']).next().unwrap_or("0").to_owned())
}

/// Where a tool keeps its files if nothing else is said: under the HOME that changes.
fn tool_home(variable: &str, below: &str) -> OsString {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(below).into();
    std::env::var_os(variable).filter(|value| !value.is_empty()).unwrap_or_else(home)
}

/// `path` as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_another_place() {
        let folder = tempfile::tempdir().unwrap();
        let there = OtherHost::new(folder.path(), Path::new("/store")).unwrap();
        let (varied, not) = there.differences().unwrap();
        for fact in ["umask", "clock", "HOME", "time zone", "locale", "user name"] {
            let told = varied.iter().any(|line| line.starts_with(fact));
            assert!(told, "{fact} is the same: {varied:?}, {not:?}");
        }
        assert_eq!(varied.len() + not.len(), FACTS.len());
        // The compilers that the builder starts see it too, though it passes on little but PATH.
        let path = there.environment[0].1.clone();
        for name in COMPILERS {
            let compiler = folder.path().join("bin").join(name);
            assert!(fs::read_to_string(compiler).unwrap().contains(CLOCK_OFFSET));
        }
        let version = Command::new("rustc")
            .arg("-V")
            .env_clear()
            .env("PATH", path)
            .env("HOME", std::env::var_os("HOME").unwrap())
            .output()
            .unwrap();
        assert!(version.status.success(), "{}", String::from_utf8_lossy(&version.stderr));
    }

    #[test]
    fn a_clock_that_is_not_ahead_is_told() {
        assert!(clock("1000000", "35560000").0);
        assert!(!clock("1000000", "1000002").0);
    }

    #[test]
    fn any_path_is_one_word() {
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }
}
