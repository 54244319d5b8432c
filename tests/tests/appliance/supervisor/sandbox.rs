//! Every key of the sandbox and of the limits, tested from inside: the same program with the same
//! unit file fails with the key, and succeeds if exactly that key is changed as in the table's last
//! column. The test runs on every processor, because system call filters and the start of a program
//! are specific to each.

use std::time::Duration;

use octet_machine::{Machine, Status, UnitState};
use octet_tests::{AARCH64, DiskFile, Image, READY, Remake, guest_for, shipped, shipped_for};
use serde_json::json;

use crate::supervisor::guest::{unit, wait, with_echo_in};

/// The size of the medium in MiB; data folders and disk limits need one.
const MEDIUM: u64 = 320;

/// The timeout of all attempts: one after the other, on one processor.
const ALL_OF_THEM: Duration = Duration::from_secs(300);

struct Key {
    key: &'static str,
    /// The attempts: arguments of `sandboxed`.
    tries: &'static [&'static str],
    /// The users of the two units: who may call depends on the user.
    users: [&'static str; 2],
    both: &'static str,
    /// The line that forbids the attempt, and the one that permits it.
    lines: [&'static str; 2],
}

const fn key(
    key: &'static str,
    tries: &'static [&'static str],
    both: &'static str,
    lines: [&'static str; 2],
) -> Key {
    Key { key, tries, users: ["extra-3", "extra-3"], both, lines }
}

/// Root without any capability: it owns the resource, so only the key denies the access.
const ROOTS: [&str; 2] = ["root", "root"];

const KEYS: &[Key] = &[
    key(
        "sandbox.capabilities",
        &["raw-socket"],
        "",
        ["sandbox.capabilities = []", "sandbox.capabilities = [\"NET_RAW\"]"],
    ),
    key(
        "sandbox.no_new_privs",
        &["setuid", "/usr/lib/octet/set-user-id"],
        "",
        ["sandbox.no_new_privs = true", "sandbox.no_new_privs = false"],
    ),
    key(
        "sandbox.system_calls",
        &["look-into-process"],
        "",
        ["sandbox.system_calls = [\"service\"]", "sandbox.system_calls = [\"all\"]"],
    ),
    key(
        "sandbox.read",
        &["read", "/etc/hostname"],
        "",
        ["sandbox.read = [\"/usr\"]", "sandbox.read = [\"/\"]"],
    ),
    Key {
        users: ROOTS,
        ..key(
            "sandbox.write",
            &["write", "/run/written"],
            "",
            ["sandbox.write = []", "sandbox.write = [\"/run\"]"],
        )
    },
    key(
        "sandbox.private_tmp",
        &["read", "/tmp/left"],
        "needs = [\"leaves\"]",
        ["sandbox.private_tmp = true", "sandbox.private_tmp = false"],
    ),
    Key {
        users: ROOTS,
        ..key(
            "sandbox.private_dev",
            &["open", "/dev/loop0"],
            "",
            ["sandbox.private_dev = true", "sandbox.private_dev = false"],
        )
    },
    key(
        "sandbox.devices",
        &["open", "/dev/hwrng"],
        // The driver of the device.
        "needs = [\"modules\"]",
        ["sandbox.devices = []", "sandbox.devices = [\"/dev/hwrng\"]"],
    ),
    key(
        "sandbox.read_only",
        &["write", "/tmp/written"],
        "sandbox.private_tmp = false",
        ["sandbox.read_only = [\"/tmp\"]", "sandbox.read_only = []"],
    ),
    key(
        "sandbox.network",
        &["interface", "eth0"],
        // The driver of the network card.
        "needs = [\"modules\"]",
        ["sandbox.network = \"own\"", "sandbox.network = \"host\""],
    ),
    // A unit in each network namespace listens at the same abstract address.
    key(
        "sandbox.network (abstract)",
        &["connect", "octet"],
        "needs = [\"listens-own\", \"listens-host\"]",
        ["sandbox.network = \"own\"", "sandbox.network = \"host\""],
    ),
    Key {
        users: ["extra-4", "extra-5"],
        ..key(
            "talks (to a unit)",
            &["call", "echo", "ping"],
            "needs = [\"echo\"]",
            ["", "talks.echo = [\"ping\"]"],
        )
    },
    Key {
        users: ["extra-6", "extra-7"],
        ..key(
            "talks (to PID 1)",
            &["call", "init", "boot"],
            "",
            ["talks.init = [\"status\"]", "talks.init = [\"boot\"]"],
        )
    },
    key("state", &["keep"], "needs = [\"data\"]", ["state = false", "state = true"]),
    key("runtime", &["remember"], "", ["runtime = false", "runtime = true"]),
    Key {
        users: ["extra-3", "extra-8"],
        ..key(
            "user (another's folder)",
            &["read", "/data/owner/kept"],
            "needs = [\"owner\"]",
            ["", ""],
        )
    },
    // One unit has left a queue of that name and ended, another one holds one: a unit sees only its
    // own queues.
    Key {
        users: ROOTS,
        ..key(
            "(another's queue)",
            &["queue", "held"],
            "needs = [\"left-queue\", \"held-queue\"]\n\
             sandbox = { capabilities = [\"SYS_ADMIN\"], system_calls = [\"all\"], read = [\"/\"], write = [\"/\"] }",
            ["", "env.MAKES = \"one\""],
        )
    },
    key("limits.memory_max", &["memory", "48"], "", ["limits.memory_max = \"16M\"", ""]),
    key("limits.pids_max", &["threads", "40"], "", ["limits.pids_max = 20", ""]),
    key("limits.nofile", &["files", "100"], "", ["limits.nofile = 50", ""]),
    key("limits.cpu_max", &["processor", "25"], "", ["limits.cpu_max = 10", ""]),
    key(
        "limits.io_max",
        &["disk", "3"],
        "needs = [\"data\"]\nstate = true",
        ["limits.io_max = { write = \"256K\" }", "env.SECONDS = \"50\""],
    ),
];

/// Leaves a file in the shared /tmp.
const LEAVES: &str = r#"
    name = "leaves"
    type = "one-shot"
    exec = "/usr/lib/octet/sandboxed"
    args = ["write", "/tmp/left"]
    user = "extra-3"
    sandbox.private_tmp = false
"#;

/// Keeps a file in its data folder.
const OWNER: &str = r#"
    name = "owner"
    type = "one-shot"
    exec = "/usr/lib/octet/sandboxed"
    args = ["keep"]
    user = "extra-8"
    needs = ["data"]
    state = true
"#;

/// Listens at an abstract address in the network namespace that is shared by units with `network =
/// "own"`, so that only Landlock denies the access to others.
const LISTENS_OWN: &str = r#"
    name = "listens-own"
    exec = "/usr/lib/octet/sandboxed"
    args = ["listen", "octet"]
    user = "extra-3"
"#;

/// Listens at the same address in the board's network namespace.
const LISTENS_HOST: &str = r#"
    name = "listens-host"
    exec = "/usr/lib/octet/sandboxed"
    args = ["listen", "octet"]
    user = "extra-3"
    sandbox.network = "host"
"#;

/// Creates a POSIX queue, and ends.
const LEFT_QUEUE: &str = r#"
    name = "left-queue"
    type = "one-shot"
    exec = "/usr/lib/octet/sandboxed"
    args = ["queue", "held"]
    user = "root"
    env.MAKES = "one"
    sandbox = { capabilities = ["SYS_ADMIN"], system_calls = ["all"], read = ["/"], write = ["/"] }
"#;

/// Creates a queue with the same name, and keeps running.
const HELD_QUEUE: &str = r#"
    name = "held-queue"
    exec = "/usr/lib/octet/sandboxed"
    args = ["queue", "held"]
    user = "root"
    env.MAKES = "and-stays"
    sandbox = { capabilities = ["SYS_ADMIN"], system_calls = ["all"], read = ["/"], write = ["/"] }
"#;

/// May not call any verb of netd, but opens more connections to it than netd allows.
const CROWD: &str = r#"
    name = "crowd"
    exec = "/usr/lib/octet/sandboxed"
    args = ["crowd", "netd", "40"]
    user = "extra-2"
    after = ["netd"]
"#;

const SIDES: [&str; 2] = ["with", "without"];

fn name(index: usize, side: usize) -> String {
    format!("try-{index}-{}", SIDES[side])
}

impl Key {
    fn unit(&self, index: usize, side: usize, before: Option<&str>) -> String {
        let (name, user) = (name(index, side), self.users[side]);
        // The attempts run one after the other, so that none takes another's CPU time.
        let after: Vec<&str> = before.into_iter().collect();
        format!(
            "name = \"{name}\"\ntype = \"one-shot\"\nexec = \"/usr/lib/octet/sandboxed\"\n\
             args = {:?}\nuser = \"{user}\"\nafter = {after:?}\nstart.timeout = \"1m\"\n\
             restart.policy = \"never\"\n{}\n{}\n",
            self.tries, self.both, self.lines[side]
        )
    }
}

fn remake(shipped: &Image) -> Remake {
    let program = guest_for(shipped.architecture, "sandboxed");
    let set_user_id = std::fs::read(&program).unwrap();
    let mut image = with_echo_in(shipped)
        .program("sandboxed", &program)
        .file("/usr/lib/octet/set-user-id", 0o4755, set_user_id)
        .unit(LEAVES)
        .unit(LISTENS_OWN)
        .unit(LISTENS_HOST)
        .unit(OWNER)
        .unit(LEFT_QUEUE)
        .unit(HELD_QUEUE)
        .unit(CROWD);
    let mut before: Option<String> = None;
    for (index, key) in KEYS.iter().enumerate() {
        for side in 0..SIDES.len() {
            image = image.unit(&key.unit(index, side, before.as_deref()));
            before = Some(name(index, side));
        }
    }
    image
}

/// The result of an attempt: its output, or the way the unit ended without any.
fn outcome(machine: &Machine, name: &str) -> String {
    let unit = unit(machine, name);
    let lines = machine.logs(name).unwrap();
    match lines.iter().find_map(|line| Some(line.split_once(": ")?.1)) {
        Some(said) if unit.state == UnitState::Exited => said.to_owned(),
        _ => format!("{:?}: {}", unit.state, unit.last_exit.or(unit.reason).unwrap_or_default()),
    }
}

#[test]
fn every_key_forbids_what_works_without_it() {
    every_key_forbids(&shipped());
}

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn the_same_on_arm() {
    every_key_forbids(&shipped_for(AARCH64));
}

fn every_key_forbids(shipped: &Image) {
    let image = remake(shipped).image();
    let disk = DiskFile::flashed(shipped, MEDIUM);
    let machine = image.machine().disk(disk.disk()).cpus(1);
    // A network card, so that the board's network namespace has a device.
    let machine = machine.argument("-netdev").argument("hubport,id=net,hubid=0");
    let machine = machine.argument("-device").argument("virtio-net-pci,netdev=net");
    let machine = machine.start().unwrap();
    machine.wait_ready(READY).unwrap();
    let last = name(KEYS.len() - 1, 1);
    let over = |status: &Status| {
        let state = status.unit(&last).unwrap().state;
        matches!(state, UnitState::Exited | UnitState::Failed)
    };
    machine.wait_status("every try is over", ALL_OF_THEM, over).unwrap();
    // The last output may not have arrived in the log yet.
    wait(&machine, "the last words", |machine| !machine.logs(&last).unwrap().is_empty());

    let mut wrong = vec![];
    println!("{:26} {:34} {:34} without it", "key", "tried", "with it");
    for (index, key) in KEYS.iter().enumerate() {
        let [with, without] = [0, 1].map(|side| outcome(&machine, &name(index, side)));
        println!("{:26} {:34} {with:34} {without}", key.key, key.tries.join(" "));
        let forbidden = with.starts_with("denied(") || with.contains("SIGKILL");
        if !forbidden || without != "done" {
            wrong.push(key.key);
        }
    }
    assert!(wrong.is_empty(), "not as the key says: {wrong:?}");
    assert_eq!(unit(&machine, "left-queue").state, UnitState::Exited);
    assert_eq!(unit(&machine, "held-queue").state, UnitState::Ready);
    // Idle connections of a user without permissions exclude no other client: netd still answers,
    // also config when settings change.
    assert_eq!(unit(&machine, "crowd").state, UnitState::Ready);
    machine.call_unit("netd", "show", json!({ "links": true })).unwrap();
    // The other units were not affected by any attempt.
    machine.call_unit("echo", "ping", json!({ "n": 1 })).unwrap();
}
