//! Settings of a running box: what netd refuses, what it applies, and the automatic undo when an
//! operator is cut off.

use std::net::IpAddr;
use std::time::Instant;

use octet_control::file::LocalFile;
use octet_machine::Machine;
use octet_machine::panel::Host;
use octet_tests::{RETRY_DELAY, Remake, SOON, shipped, text_of_one_board};
use serde_json::{Value, json};

use crate::net::guest::{
    GIVEN, OURS, TEST, addresses, boot, gate, kill, wait_address, with_network,
};

/// A link that the box does not have.
const NO_LINK: &str = "eth77";

/// The released settings of a single board, with these lines in `[network]`.
fn text(network: &str) -> String {
    let shipped = text_of_one_board();
    assert!(shipped.contains("\naddress = \"dhcp\"\n"));
    shipped.replace("\naddress = \"dhcp\"\n", &format!("\n{network}\n"))
}

fn apply(machine: &Machine, network: &str, args: Value) -> Result<Value, String> {
    let mut file = LocalFile::Memory(text(network).into_bytes());
    let answer = machine.send_file_with("config", "apply", args, "file", &mut file);
    answer.map_err(|error| error.to_string())
}

#[test]
fn who_cuts_himself_off_is_back_by_himself() {
    let network = json!({ "address": [format!("{GIVEN}/24")] });
    let (machine, port) = boot(with_network(Remake::of(&shipped()), &network));
    let given = format!("{GIVEN}/24");
    let other = "198.51.100.7/24";
    wait_address(&machine, &given);
    let operator = Host::start(port, TEST, &[(IpAddr::V4(OURS), 24)]);
    let knock = || {
        let deadline = Instant::now() + SOON;
        while let Err(error) = operator.connect(gate(GIVEN.into())) {
            assert!(Instant::now() < deadline, "late: {error}");
        }
    };
    knock();

    // netd refuses it before anything is applied.
    let line = format!("address = [{given:?}]\nlink = \"{NO_LINK}\"");
    let refused = apply(&machine, &line, json!({})).unwrap_err();
    assert!(refused.contains("netd refuses: there is no link `eth77`"), "{refused}");
    let history = machine.call_unit("config", "history", json!({})).unwrap();
    assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
    knock();

    let line = format!("address = [{other:?}]");
    apply(&machine, &line, json!({ "confirm": 10 })).unwrap();
    let now = addresses(&machine);
    assert!(now.contains(&other.to_owned()) && !now.contains(&given), "{now:?}");
    // The old address is gone now. The operator only retries to connect.
    knock();
    let now = addresses(&machine);
    assert!(!now.contains(&other.to_owned()) && now.contains(&given), "{now:?}");

    // The same change is confirmed this time; it is possible as soon as all readers have the
    // previous settings again.
    let deadline = Instant::now() + SOON;
    while let Err(error) = apply(&machine, &line, json!({})) {
        assert!(error.contains("another change"), "{error}");
        assert!(Instant::now() < deadline, "late: {error}");
        std::thread::sleep(RETRY_DELAY);
    }
    machine.call_unit("config", "confirm", json!({})).unwrap();
    kill(&machine, || {});
    wait_address(&machine, other);
    assert!(!addresses(&machine).contains(&given));
}
