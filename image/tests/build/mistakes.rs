//! Mistakes of a person: each is named with file and line, nothing is written. First without any.

use std::path::Path;

use crate::sandbox::{Said, Sandbox};

/// Builds the appliance in which `from` is replaced by `to`; nothing may be left.
fn with(from: &str, to: &str) -> Said {
    let sandbox = Sandbox::new();
    sandbox.replace("appliance.toml", from, to);
    let said = sandbox.build(&["--offline"]);
    assert_eq!(sandbox.sums(), None);
    assert!(!sandbox.path("out/qemu-x86_64").exists(), "something is left");
    said
}

#[test]
fn the_appliance_without_a_mistake_builds() {
    let sandbox = Sandbox::new();
    let said = sandbox.build(&["--offline"]);
    said.succeeded();
    assert!(sandbox.sums().is_some_and(|sums| sums.contains("  boot/initrd\n")));
    let again = sandbox.build(&["--offline"]);
    again.succeeded();
    assert!(again.err.contains("unchanged"), "{}", again.err);

    let explained: Said =
        sandbox.command("explain").arg("/lib/ld-musl-x86_64.so.1").output().unwrap().into();
    explained.succeeded();
    for words in
        ["package musl 1.", "appliance.toml:5 packages = musl", "| \"musl\",", "0755 0:0", "sha256"]
    {
        assert!(explained.out.contains(words), "{}", explained.out);
    }
    let both: Said = sandbox.command("explain").arg("/root").output().unwrap().into();
    for words in ["in        the root file system", "in        the initramfs"] {
        assert!(both.out.contains(words), "{}", both.out);
    }
    let explain =
        |path: &str| -> Said { sandbox.command("explain").arg(path).output().unwrap().into() };
    for (path, origin) in [
        ("/boot/linux", "from      package linux-virt 6."),
        ("/boot/initrd", "from      the builder"),
        ("/EFI/BOOT/BOOTX64.EFI", "from      package systemd-boot-efi"),
    ] {
        let said = explain(path);
        said.succeeded();
        for words in ["in        the EFI system partition", origin, "sha256", "because"] {
            assert!(said.out.contains(words), "{path}: {}", said.out);
        }
    }
    explain("/boot/grub").refused(&["the image has no /boot/grub"]);
    let needed: Said = sandbox
        .command("explain")
        .arg("/lib/modules/6.18.56-0-virt/kernel/net/802/mrp.ko")
        .output()
        .unwrap()
        .into();
    assert!(needed.out.contains("modules = 8021q -> mrp"), "{}", needed.out);
    let unknown: Said = sandbox.command("explain").arg("/lib/ld-musl.so").output().unwrap().into();
    unknown.refused(&["the image has no /lib/ld-musl.so", "/lib/ld-musl-x86_64.so.1"]);
}

#[test]
fn an_unknown_key() {
    with("packages", "package").refused(&[
        "appliance.toml:4:1: ",
        "unknown field",
        "did you mean `packages`?",
    ]);
}

#[test]
fn a_wrong_type() {
    with("name = \"small\"", "name = 7").refused(&["appliance.toml:2:8: ", "invalid type"]);
}

#[test]
fn a_package_that_does_not_exist() {
    with("libuuid", "libuid").refused(&["appliance.toml:6:5: ", "no package `libuid`", "libuuid"]);
}

#[test]
fn a_package_with_a_script() {
    with("libuuid", "kmod").refused(&["package kmod", "trigger", "overlays/scripts.toml"]);
}

#[test]
fn a_module_that_does_not_exist() {
    with("8021q", "8021qq").refused(&[
        "appliance.toml:9:12: ",
        "no kernel module `8021qq`",
        "8021q",
    ]);
}

#[test]
fn a_service_that_does_not_exist() {
    with("\"console\"", "\"consol\"").refused(&[
        "appliance.toml:10:13: ",
        "no service `consol`",
        "console",
    ]);
}

#[test]
fn a_unit_that_could_not_be_healthy() {
    // The appliance of `a_service_of_the_owners` names one that could.
    with("[image]", "[health]\nunits = [\"consol\"]\n[image]").refused(&[
        "appliance.toml:4:10: ",
        "no unit `consol` that could be healthy",
        "did you mean `console`?",
    ]);
}

#[test]
fn an_appliance_that_does_not_exist() {
    let sandbox = Sandbox::new();
    std::fs::remove_file(sandbox.path("appliance.toml")).unwrap();
    let said = sandbox.build(&["--offline"]);
    said.refused(&["cannot read", "appliance.toml", "--appliance FILE"]);
    assert_eq!(said.err.matches("No such file").count(), 1, "{}", said.err);
}

#[test]
fn an_appliance_that_is_no_text() {
    let sandbox = Sandbox::new();
    let text = sandbox.read("appliance.toml").replacen('\n', "\n# caf?\n", 1);
    let at = text.find('?').unwrap();
    let mut bytes = text.into_bytes();
    // As Latin-1 has it.
    bytes[at] = 0xe9;
    std::fs::write(sandbox.path("appliance.toml"), bytes).unwrap();
    sandbox.build(&["--offline"]).refused(&["appliance.toml:2: ", "UTF-8"]);
}

/// Three lines that add a program of the owner's.
const HELLO: &str = "[[service]]\npath = \"hello\"\nunit = \"hello.toml\"\n";

fn hello(sandbox: &Sandbox, name: &str, user: usize, more: &str) {
    let text = format!(
        "name = \"{name}\"\nexec = \"/usr/lib/octet/{name}\"\nuser = \"extra-{user}\"\n{more}\n"
    );
    sandbox.write(&format!("{name}.toml"), &text);
}

#[test]
fn a_service_of_the_owners() {
    let sandbox = Sandbox::new();
    let compiled = std::env::var_os("OCTET_PROGRAMS").expect("`cargo image test` runs this");
    let program = Path::new(&compiled).join("x86_64-unknown-linux-musl/hello");
    std::fs::copy(program, sandbox.path("hello")).unwrap();
    sandbox.write("appliance.toml", &format!("{}{HELLO}", crate::sandbox::APPLIANCE));
    sandbox.replace("appliance.toml", "[image]", "[health]\nunits = [\"console\"]\n[image]");
    hello(&sandbox, "hello", 1, "");
    sandbox.build(&["--offline"]).succeeded();
    let explained: Said =
        sandbox.command("explain").arg("/usr/lib/octet/hello").output().unwrap().into();
    for words in ["file hello", "appliance.toml:13 service = hello", "| [[service]]"] {
        assert!(explained.out.contains(words), "{}", explained.out);
    }
    let before = sandbox.sums();

    // The same with a program that needs a loader, with no program, and with text.
    std::fs::copy("/bin/true", sandbox.path("hello")).unwrap();
    sandbox
        .build(&["--offline"])
        .refused(&["hello.toml:2:8: ", "/usr/lib/octet/hello is not static"]);
    sandbox.write("hello", "#!/bin/sh\n");
    sandbox.build(&["--offline"]).refused(&["hello.toml:2:8: ", "is not a program"]);
    std::fs::remove_file(sandbox.path("hello")).unwrap();
    sandbox.build(&["--offline"]).refused(&["appliance.toml:14:8: ", "cannot read hello"]);
    std::fs::remove_file(sandbox.path("hello.toml")).unwrap();
    sandbox.build(&["--offline"]).refused(&["appliance.toml:15:8: ", "cannot read hello.toml"]);
    assert_eq!(sandbox.sums(), before, "the image of before is still there");
}

#[test]
fn a_dependency_cycle() {
    let sandbox = Sandbox::new();
    let second = HELLO.replace("hello.toml", "again.toml");
    sandbox.write("appliance.toml", &format!("{}{HELLO}{second}", crate::sandbox::APPLIANCE));
    sandbox.write("hello", "any");
    hello(&sandbox, "hello", 1, "needs = [\"again\"]");
    hello(&sandbox, "again", 2, "needs = [\"hello\"]");
    sandbox.build(&["--offline"]).refused(&["again.toml:4:10: ", "hello -> again -> hello"]);
    hello(&sandbox, "again", 2, "needs = [\"hallo\"]");
    sandbox.build(&["--offline"]).refused(&["again.toml:4:10: ", "`hallo`", "hello"]);
    hello(&sandbox, "again", 1, "");
    sandbox.build(&["--offline"]).refused(&["user `extra-1` is also that of unit `hello`"]);
    assert_eq!(sandbox.sums(), None);
}

#[test]
fn a_service_that_wants_too_much() {
    let sandbox = Sandbox::new();
    let second = HELLO.replace("hello.toml", "again.toml");
    sandbox.write("appliance.toml", &format!("{}{HELLO}{second}", crate::sandbox::APPLIANCE));
    sandbox.write("hello", "any");
    hello(&sandbox, "again", 2, "ports.web = \"tcp/80\"");
    // Nothing is wrong with the units: it is the program that is none.
    hello(&sandbox, "hello", 1, "ports.web = \"tcp/81\"\ntalks.again = [\"status\"]");
    sandbox.build(&["--offline"]).refused(&["hello.toml:2:8: ", "is not a program"]);

    let root = "name = \"hello\"\nexec = \"/usr/lib/octet/hello\"\nuser = \"root\"\n";
    sandbox.write("hello.toml", root);
    sandbox.build(&["--offline"]).refused(&["hello.toml:3:8: ", "cannot run as `root`", "extra-1"]);
    hello(&sandbox, "hello", 1, "sandbox.capabilities = [\"SYS_ADMIN\"]");
    sandbox.build(&["--offline"]).refused(&["hello.toml:4:24: ", "cannot have SYS_ADMIN"]);
    hello(&sandbox, "hello", 1, "sandbox.system_calls = [\"servise\"]");
    sandbox.build(&["--offline"]).refused(&["hello.toml:4:25: ", "did you mean `service`?"]);
    hello(&sandbox, "hello", 1, "ports.web = \"tcp/80\"");
    sandbox.build(&["--offline"]).refused(&["again.toml:4:13: ", "tcp/80", "`hello`", "`again`"]);
    hello(&sandbox, "hello", 1, "talks.agian = [\"status\"]");
    sandbox.build(&["--offline"]).refused(&["hello.toml:4:15: ", "did you mean `again`?"]);
    assert_eq!(sandbox.sums(), None);
}

#[test]
fn a_unit_that_is_for_some_boards() {
    let sandbox = Sandbox::new();
    let second = HELLO.replace("hello.toml", "again.toml");
    let appliance = format!("{}{HELLO}{second}", crate::sandbox::APPLIANCE);
    sandbox.write("hello", "any");
    hello(&sandbox, "again", 2, "");
    let placed = |services: &str, needs: &str| {
        let board = "[cluster]\nboards = 4\n[[board]]\nnumber = 4\nservices = [\"again\"]\n\
                     [[board]]\nnumber = 3\n";
        sandbox.write("appliance.toml", &format!("{appliance}{board}services = [{services}]\n"));
        hello(&sandbox, "hello", 1, needs);
        sandbox.build(&["--offline"])
    };
    // Nothing is wrong with the boards: it is the program that is none.
    for needs in ["", "after = [\"again\"]"] {
        placed("\"hello\"", needs).refused(&["is not a program"]);
    }
    let beside = placed("\"hello\", \"again\"", "needs = [\"again\"]");
    beside.refused(&["is not a program"]);

    let needs = "needs = [\"again\"]";
    placed("\"hello\"", needs).refused(&["appliance.toml:24:13: ", "not run on board 3", "beside"]);
    placed("", needs).refused(&["appliance.toml:21:13: ", "runs on every node", "name `hello`"]);
    placed("\"helo\"", "").refused(&["appliance.toml:24:13: ", "did you mean `hello`?"]);
    placed("\"console\"", "").refused(&["appliance.toml:24:13: ", "`console` is a base unit"]);
    placed("\"modules\"", "").refused(&["appliance.toml:24:13: ", "`modules` is PID 1's own"]);
    placed("\"hello\", \"hello\"", "")
        .refused(&["appliance.toml:24:22: ", "`hello` is there twice"]);
    // No slot would ever be good on the boards on which it does not run.
    let said = sandbox.read("appliance.toml");
    let health = said
        .replace("\"hello\", \"hello\"", "")
        .replace("[image]", "[health]\nunits = [\"again\"]\n[image]");
    sandbox.write("appliance.toml", &health);
    sandbox.build(&["--offline"]).refused(&["appliance.toml:23:13: ", "unit `slot` needs `again`"]);
    assert_eq!(sandbox.sums(), None);
}
