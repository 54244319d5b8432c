//! Two boxes of `cargo image run --cluster` in one external network.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Stdio};
use std::time::Instant;

use octet_machine::Cluster;
use octet_tests::{Image, InTerminal, READY, RETRY_DELAY, SOON, builder, must};
use rustix::process::{Signal, geteuid};

use crate::cluster::run::{NOBODY, Person};
use crate::cluster::silent_beside;

/// A published port, and the policy by which the owner's devices may reach that of another box.
const PUBLISHED: &str = r#"
[[publish]]
port = "tcp/8088"
to = "board-1"
at = "tcp/8080"

[[policy]]
from = "lan"
to = "uplink"
protocol = "tcp"
ports = [8080, 8088]
"#;

#[test]
#[ignore = "long: `cargo image test --soak`"]
fn two_boxes_share_a_network_which_outlives_who_made_it() {
    let image = Image::with_services_and(&[], PUBLISHED);
    let out = image.folder.parent().unwrap();
    let appliance = out.with_file_name("appliance.toml");
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = Command::new("env");
        command.arg(format!("TMPDIR={}", folder.path().display())).arg(builder());
        command.args(["run", "--cluster", "1", "--outside", "street", "--appliance"]);
        command.arg(&appliance).arg("--out").arg(out).stdin(Stdio::null());
        InTerminal::start(command)
    };
    // No other test may run machines meanwhile.
    let _alone = Cluster::new(4, true).unwrap();
    let boxes = ["198.18.2.1", "198.18.2.2"];
    let mut terminals = boxes.map(|address| {
        let mut terminal = start();
        terminal.wait_for(&format!("outside    {address}"), READY);
        terminal
    });
    for terminal in &mut terminals {
        terminal.wait_for("machines are one box", 4 * READY);
    }
    let machines = [1, 2].map(|number| (number.to_string(), Person::new(out, number)));
    let street = folder.path().join(format!("octet-outside-{}/street", geteuid().as_raw()));
    // The files of the user who has started the boxes are given to `nobody`.
    let own_wire = || {
        let deadline = Instant::now() + SOON;
        while !street.join("wire").exists() {
            assert!(Instant::now() < deadline, "late: nobody has made the wire");
            std::thread::sleep(RETRY_DELAY);
        }
        if geteuid().is_root() {
            for open in [folder.path(), street.parent().unwrap(), &street] {
                fs::set_permissions(open, Permissions::from_mode(0o755)).unwrap();
            }
            chown(street.join("wire"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    };
    own_wire();
    let get = |(number, person): &(String, Person), side: &str, address: &str| {
        let script = silent_beside(&[(address, 8080), (address, 4040)], (address, 8088));
        let lan = ["lan", "--machine", number, "--side", side, "python3", "-c", &script];
        let said = must(&mut person.in_clone(&lan));
        assert_eq!(said.stdout, "400 True\n", "{}", said.stderr);
    };
    // From the lan of each through both routers, and from a host between them.
    for (machine, other) in machines.iter().zip([boxes[1], boxes[0]]) {
        get(machine, "lan", other);
        get(machine, "outside", other);
    }
    let [mut first, mut second] = terminals;
    first.signal(Signal::INT);
    assert!(first.end().success(), "{}", first.text);
    own_wire();
    get(&machines[1], "outside", boxes[1]);
    second.signal(Signal::INT);
    assert!(second.end().success(), "{}", second.text);
    let left: Vec<_> = fs::read_dir(&street).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["machines"]);
}
