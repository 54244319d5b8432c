//! Debian packages: the locked version while it is offered, its successor afterwards.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::sandbox::{Said, Sandbox, locked, warm_store};

const NAME: &str = "systemd-boot-efi";

/// A stub of apt in place of the host's: it offers one version and gives one file for it.
struct StubApt {
    folder: PathBuf,
}

impl StubApt {
    fn new(sandbox: &Sandbox, version: &str, deb: &Path) -> Self {
        let stub = Self { folder: sandbox.path("stub-apt") };
        fs::create_dir_all(&stub.folder).unwrap();
        let policy = format!(
            "printf '{NAME}:\\n  Installed: (none)\\n  Candidate: {version}\\n  Version table:\\n     \
             {version} 500\\n        500 stub\\n'"
        );
        stub.program("apt-cache", &policy);
        let give = format!("{NAME}={version}) cp {} {NAME}_{version}_stub.deb;;", deb.display());
        let unknown = "*) echo \"E: Version was not found\" >&2; exit 100;;";
        stub.program(
            "apt-get",
            &format!("for last; do :; done\ncase \"$last\" in update) ;; {give} {unknown} esac"),
        );
        stub
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.folder.join(name);
        let log = self.folder.join("log");
        fs::write(&path, format!("#!/bin/sh\necho {name} $* >> {}\n{script}\n", log.display()))
            .unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    /// How often it was asked for this.
    fn asked(&self, what: &str) -> usize {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(what)).count()
    }

    fn run(&self, sandbox: &Sandbox, subcommand: &str, more: &[&str]) -> Said {
        let path = format!("{}:{}", self.folder.display(), std::env::var("PATH").unwrap());
        let mut command = sandbox.command(subcommand);
        command.args(more).env("OCTET_STORE", sandbox.path("store")).env("PATH", path);
        command.output().unwrap().into()
    }
}

/// A sandbox whose store has everything but the package; where the package is.
fn without_the_package() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let sha256 = locked(NAME, "sha256");
    fs::remove_file(sandbox.store(&[]).join(&sha256)).unwrap();
    (sandbox, warm_store().join(sha256))
}

/// Lets the lock have another version, with a digest that nothing has.
fn lock_another(sandbox: &Sandbox, version: &str) {
    let line = |version: &str| format!("version = \"{version}\"");
    sandbox.replace("appliance.lock", &line(&locked(NAME, "version")), &line(version));
    sandbox.replace("appliance.lock", &locked(NAME, "sha256"), &"0".repeat(64));
}

#[test]
fn the_locked_version_is_fetched() {
    let (sandbox, deb) = without_the_package();
    let lock = sandbox.read("appliance.lock");
    let apt = StubApt::new(&sandbox, &locked(NAME, "version"), &deb);
    apt.run(&sandbox, "build", &["--offline"])
        .refused(&["input `systemd-boot-efi` is not in the store", "without --offline"]);
    assert_eq!((apt.asked(""), sandbox.sums()), (0, None));
    apt.run(&sandbox, "build", &["--locked"]).succeeded();
    assert_eq!((apt.asked("update"), apt.asked("download")), (1, 1));
    assert_eq!(sandbox.read("appliance.lock"), lock);
    // From now on nobody is asked, whatever is offered.
    fs::remove_dir_all(sandbox.path("out/qemu-x86_64")).unwrap();
    let apt = StubApt::new(&sandbox, "999", &deb);
    apt.run(&sandbox, "build", &[]).succeeded();
    assert_eq!(apt.asked("download"), 1);
}

#[test]
fn a_successor_is_taken() {
    let (sandbox, deb) = without_the_package();
    let version = locked(NAME, "version");
    let comment = format!("# mine\nversion = \"{version}\"");
    sandbox.replace("appliance.lock", &format!("version = \"{version}\""), &comment);
    let successor = sandbox.read("appliance.lock");
    lock_another(&sandbox, "1-1");
    let lock = sandbox.read("appliance.lock");
    let apt = StubApt::new(&sandbox, &version, &deb);

    let words = ["input `systemd-boot-efi` 1-1 is not offered", "lock --update systemd-boot-efi"];
    apt.run(&sandbox, "build", &["--locked"]).refused(&words);
    apt.run(&sandbox, "build", &["--offline"]).refused(&["is not in the store"]);
    assert_eq!((sandbox.read("appliance.lock"), sandbox.sums()), (lock, None));
    assert_eq!(apt.asked("download"), 0);

    let said = apt.run(&sandbox, "build", &[]);
    said.succeeded();
    for words in [
        "warning: input `systemd-boot-efi` 1-1 is not offered any more",
        "-version = \"1-1\"",
        &format!("+version = \"{version}\""),
        &format!("-sha256 = \"{}\"", "0".repeat(64)),
        &format!("+sha256 = \"{}\"", locked(NAME, "sha256")),
    ] {
        assert!(said.err.contains(words), "`{words}` is not in:\n{}", said.err);
    }
    // The comment is still there; only the stub's name of the file is another one.
    let file = format!("systemd-boot-efi_{version}_amd64.deb");
    let stub = file.replace("amd64", "stub");
    assert_eq!(sandbox.read("appliance.lock"), successor.replacen(&file, &stub, 1));
    assert!(sandbox.sums().is_some());
    apt.run(&sandbox, "build", &["--offline", "--locked"]).succeeded();
}

#[test]
fn an_older_version_is_no_successor() {
    let (sandbox, deb) = without_the_package();
    lock_another(&sandbox, "9999-1");
    let lock = sandbox.read("appliance.lock");
    let apt = StubApt::new(&sandbox, &locked(NAME, "version"), &deb);
    apt.run(&sandbox, "build", &[]).refused(&[
        "input `systemd-boot-efi` 9999-1 is not offered any more",
        "is not newer",
        "apt-cache policy",
    ]);
    assert_eq!((sandbox.read("appliance.lock"), sandbox.sums()), (lock, None));
}

#[test]
fn apt_does_not_fetch() {
    let (sandbox, _) = without_the_package();
    let other = sandbox.path("other.deb");
    fs::write(&other, "abc").unwrap();
    let apt = StubApt::new(&sandbox, &locked(NAME, "version"), &other);
    // What it gives is not what is locked.
    apt.run(&sandbox, "build", &[]).refused(&[
        "appliance.lock:",
        "input `systemd-boot-efi`",
        "has size 3",
        "lock --update systemd-boot-efi",
    ]);
    apt.program("apt-cache", "exit 0");
    apt.run(&sandbox, "build", &[]).refused(&["no package `systemd-boot-efi`"]);
    apt.program("apt-get", "echo 'E: Failed to fetch it' >&2; exit 100");
    apt.run(&sandbox, "build", &[]).refused(&["update` failed", "E: Failed to fetch it"]);
    assert_eq!(sandbox.sums(), None);
}

#[test]
fn lock_update_takes_what_is_offered() {
    let (sandbox, _) = without_the_package();
    let other = sandbox.path("other.deb");
    fs::write(&other, "abc").unwrap();
    let apt = StubApt::new(&sandbox, "9999-1", &other);
    let said = apt.run(&sandbox, "lock", &["--update", NAME]);
    said.succeeded();
    assert_eq!(said.out.matches("+version = \"9999-1\"").count(), 2, "{}", said.out);
    assert_eq!(apt.asked(&format!("download {NAME}=9999-1")), 2, "one for each target");
    let gone = format!("{NAME}==1-1");
    apt.run(&sandbox, "lock", &["--update", &gone]).refused(&["1-1 is not offered", "9999-1"]);
}

#[test]
fn a_package_is_the_one_that_the_lock_means() {
    // The warm store has it: builds of the other tests take it from there.
    let sandbox = Sandbox::new();
    let version = locked(NAME, "version");
    sandbox.replace("appliance.lock", &format!("version = \"{version}\""), "version = \"1-1\"");
    sandbox.build(&["--offline"]).refused(&[
        "input `systemd-boot-efi` 1-1",
        &format!("its Version is `{version}`, not `1-1`"),
        "lock --update systemd-boot-efi",
    ]);
    assert_eq!(sandbox.sums(), None);
}
