use super::*;
use crate::Appliance;
use crate::descriptor::tests::descriptor;
use proptest::prelude::*;

const BEGINS: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";
const BOX: &str = "[cluster]\nboards = 4\n[lan]\n";
const NODE: &str = "fc15:3721:cd76:a4c1:f90b:3b88:f618:593d";

fn neighbour(name: &str, number: u8, more: &str) -> String {
    format!("[[neighbour]]\nname = \"{name}\"\ndescriptor = \"{}\"\n{more}", descriptor(number))
}

fn read(text: &str) -> Result<Option<Vpn>, Box<FileError>> {
    let appliance = Appliance::parse("appliance.toml", &format!("{BEGINS}{text}"))?;
    let json = serde_json::to_value(&appliance.vpn).unwrap();
    assert_eq!(serde_json::from_value::<Option<Vpn>>(json).unwrap(), appliance.vpn);
    Ok(appliance.vpn)
}

#[test]
fn by_a_line_or_by_an_address() {
    let hill = neighbour("hill", 1, "");
    let vpn = |exit: &str| read(&format!("{BOX}{hill}[vpn]\nexit = \"{exit}\"\n")).unwrap();
    assert_eq!(vpn("hill").unwrap().exit, ExitNode::Line("hill".parse().unwrap()));
    assert_eq!(vpn(NODE).unwrap().exit, ExitNode::Node(NODE.parse().unwrap()));
    assert_eq!(read(&format!("{BOX}{hill}")).unwrap(), None);
    // A board's neighbour may be named, if the router has a link to somebody.
    let lake = neighbour("lake", 2, "board = 3\nat = \"203.0.113.7:51820\"\n");
    let text = format!("{BOX}{hill}{lake}[vpn]\nexit = \"lake\"\n");
    assert_eq!(read(&text).unwrap().unwrap().exit.to_string(), "lake");
}

/// Each mistake is marked at the line that has to be changed, with what to do.
#[test]
fn mistakes_are_placed() {
    let hill = neighbour("hill", 1, "");
    let vpn = |exit: &str| format!("[vpn]\nexit = \"{exit}\"\n");
    let openwrt = "[cluster]\nboards = 4\nrouter = \"openwrt\"\n[[board]]\nnumber = 1\nrole = \"manager\"\n[lan]\n";
    let of_board = neighbour("hill", 1, "board = 3\n");
    for (text, line, part, hint) in [
        (format!("{}{BOX}{hill}", vpn("hil")), 9, "is called `hil`", "`hill`"),
        (format!("{}{BOX}{hill}", vpn("zzz")), 9, "is called `zzz`", "fc00::/8"),
        (format!("{}{BOX}{hill}", vpn("Hill")), 9, "is not a node", ""),
        (format!("{}{BOX}{hill}", vpn("fd00::1")), 9, "is not a node", ""),
        (format!("{}{BOX}{hill}", vpn("192.0.2.7")), 9, "is not a node", ""),
        (format!("{}{BOX}{hill}", vpn("board-3")), 9, "is not a node", ""),
        (format!("[vpn]\n{BOX}{hill}"), 8, "missing field", ""),
        (format!("{}exits = 1\n{BOX}{hill}", vpn("hill")), 10, "unknown field", ""),
        (format!("{}[cluster]\nboards = 4\n{hill}", vpn("hill")), 8, "no `lan`", "[lan]"),
        (format!("{}{BOX}{of_board}", vpn("hill")), 9, "no link to another box", "without `board`"),
        (format!("{}{BOX}", vpn(NODE)), 9, "no link to another box", "[[neighbour]]"),
        (format!("{}{openwrt}{of_board}", vpn("hill")), 8, "runs OpenWrt", "leave"),
        (format!("{}{hill}", vpn("hill")), 8, "there is no [cluster]", "[cluster]"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.message.contains(part), "{part}: {error}");
        assert_eq!(error.line, line, "{error}\n{text}");
        assert!(!error.hint.is_empty() && error.hint.contains(hint), "{error} {}", error.hint);
    }
}

#[test]
fn places_are_told_apart_from_all_else() {
    assert_eq!(
        (exit_address(1).to_string(), exit_addresses()),
        ("100.127.255.1".into(), "100.127.255.0/24".into())
    );
    for (address, is) in [
        ("100.127.255.16", true),
        ("100.127.254.1", false),
        ("10.20.250.5", false),
        ("::ffff:100.127.255.1", false),
    ] {
        assert_eq!(is_exit_address(address.parse().unwrap()), is, "{address}");
    }
}

proptest! {
    #[test]
    fn an_exit_prints_as_it_parses(text in "[a-z0-9:.-]{0,40}") {
        if let Ok(exit) = ExitNode::try_from(text) {
            prop_assert_eq!(ExitNode::try_from(exit.to_string()), Ok(exit));
        }
    }

    #[test]
    fn never_panics(exit in "\\PC{0,40}") {
        let _ = read(&format!("{BOX}[vpn]\nexit = {exit:?}\n"));
    }
}
