//! The owner's sections that reach a board's port or its VLAN. Beside each there is a similar
//! section that reaches none. Boards 1 and 2 of the box are at each other's ports.

use octet_router::openwrt::change::UciChange;

use crate::{change, ready, rich};

/// The router of a box with eight boards, with this additional section of the owner's in a file.
fn with(config: &str, text: &str) -> UciChange {
    let package = format!("package {config}\n\n");
    let all = ready(8).replacen(&package, &format!("{package}{text}\n\n"), 1);
    assert_ne!(all, ready(8), "{config}");
    change(&all, &rich(8))
}

/// Each report names file, section and the reached segment, and blocks the plan; the router without
/// the section has none.
fn is_named(config: &str, reaches: &str, reaches_none: &str, wanted: &str) {
    assert_eq!(with(config, reaches_none).conflicts, [""; 0], "{reaches_none}");
    let change = with(config, reaches);
    assert!(change.conflicts.iter().any(|it| it.contains(wanted)), "{wanted}: {change:#?}");
    assert_eq!(change.commands, [""; 0], "{reaches}");
}

#[test]
fn devices_and_interfaces_on_a_port_or_a_vlan() {
    for (reaches, reaches_none, wanted) in [
        (
            "config interface 'guest'\n\toption device 'lan1.20'",
            "config interface 'guest'\n\toption device 'lan10.20'",
            "network interface 'guest' is on lan1.20, which leads to board-2",
        ),
        (
            "config interface 'guest'\n\toption device 'br-lan.1005'",
            "config interface 'guest'\n\toption device 'br-lan.5'",
            "network interface 'guest' is on br-lan.1005, which leads to board-5",
        ),
        (
            "config interface 'old'\n\toption ifname 'eth7 lan9'",
            "config interface 'old'\n\toption ifname 'eth7 lan10'",
            "network interface 'old' is on lan9, which leads to lan",
        ),
        (
            "config interface 'alias'\n\toption device '@octet_board_6'",
            "config interface 'alias'\n\toption device '@wan'",
            "network interface 'alias' is on @octet_board_6, which leads to board-6",
        ),
        (
            "config interface 'guest'\n\toption device 'lan1.20'\n\nconfig interface 'alias'\n\toption device '@guest'",
            "config interface 'guest'\n\toption device 'lan10.20'\n\nconfig interface 'alias'\n\toption device '@guest'",
            "network interface 'alias' is on @guest, which leads to board-2",
        ),
        (
            "config interface 'bond'\n\toption proto 'bonding'\n\tlist slaves 'lan2'",
            "config interface 'bond'\n\toption proto 'bonding'\n\tlist slaves 'lan10'",
            "network interface 'bond' is on lan2, which leads to board-1",
        ),
        (
            "config interface 'relay'\n\toption proto 'relay'\n\tlist network 'lan'\n\tlist network 'octet_board_1'",
            "config interface 'relay'\n\toption proto 'relay'\n\tlist network 'lan'\n\tlist network 'wan'",
            "network interface 'relay' has octet_board_1, the network of board-1",
        ),
        // The device of an interface is a VLAN of another device.
        (
            "config interface 'deep'\n\toption device 'mac.3'\n\nconfig device\n\toption name 'mac'\n\toption type 'macvlan'\n\toption ifname 'trunk'\n\n\
             config device\n\toption name 'trunk'\n\toption type '8021q'\n\toption ifname 'lan2'\n\toption vid '7'",
            "config interface 'deep'\n\toption device 'mac.3'\n\nconfig device\n\toption name 'mac'\n\toption type 'macvlan'\n\toption ifname 'trunk'\n\n\
             config device\n\toption name 'trunk'\n\toption type '8021q'\n\toption ifname 'lan10'\n\toption vid '7'",
            "network interface 'deep' is on mac.3, which leads to board-1",
        ),
        (
            "config device\n\toption name 'trunk'\n\toption type '8021ad'\n\toption ifname 'lan2'\n\toption vid '7'",
            "config device\n\toption name 'lan2'\n\toption mtu '1500'",
            "network device '@device[0]' (name 'trunk') has lan2, which leads to board-1",
        ),
        (
            "config device\n\toption name 'again'\n\toption type '8021q'\n\toption ifname 'br-lan'\n\toption vid '1008'",
            "config device\n\toption name 'br-lan.1008'\n\toption type '8021q'\n\toption ifname 'br-lan'\n\toption vid '1008'",
            "network device '@device[0]' (name 'again') has br-lan.1008, which leads to board-8",
        ),
        // A bridge of its own, as an option and as a list, and a VLAN of it.
        (
            "config device\n\toption type 'bridge'\n\toption name 'br-two'\n\toption ports 'eth7 lan3'",
            "config device\n\toption type 'bridge'\n\toption name 'br-two'\n\toption ports 'eth7 lan11'",
            "network device '@device[0]' (name 'br-two') has lan3, which leads to board-3",
        ),
        (
            "config device\n\toption type 'bridge'\n\toption name 'br-two'\n\tlist ports 'br-lan.1004'",
            "config device\n\toption type 'bridge'\n\toption name 'br-two'\n\tlist ports 'br-lan.4'",
            "network device '@device[0]' (name 'br-two') has br-lan.1004, which leads to board-4",
        ),
        (
            "config bridge-vlan\n\toption device 'br-two'\n\toption vlan '3'\n\tlist ports 'lan5:t'",
            "config bridge-vlan\n\toption device 'br-two'\n\toption vlan '3'\n\tlist ports 'lan11:t'",
            "network bridge-vlan '@bridge-vlan[0]' has lan5, which leads to board-5",
        ),
        (
            "config bridge-vlan\n\toption device 'br-lan'\n\toption vlan '3'\n\tlist ports 'lan5.8'",
            "config bridge-vlan\n\toption device 'br-lan'\n\toption vlan '3'\n\tlist ports 'lan10'",
            "network bridge-vlan '@bridge-vlan[0]' has lan5.8, which leads to board-5",
        ),
    ] {
        is_named("network", reaches, reaches_none, wanted);
    }
    // On the switch itself: a tagged board would be in the owner's VLAN.
    let all =
        ready(8).replace("\tlist ports 'lan10'\n", "\tlist ports 'lan10'\n\tlist ports 'lan4.9'\n");
    let found = change(&all, &rich(8)).conflicts;
    let wanted = "network device '@device[0]' (name 'br-lan') has lan4.9, which leads to board-4";
    assert!(found.iter().any(|it| it.contains(wanted)), "{found:?}");
}

#[test]
fn zones_that_boards_are_in() {
    for (reaches, reaches_none, wanted) in [
        (
            "list device 'lan1.20'",
            "list device 'lan10.20'",
            "has device lan1.20, which leads to board-2",
        ),
        (
            "option device 'br-lan.1003'",
            "option device 'br-lan.3'",
            "has device br-lan.1003, which leads to board-3",
        ),
        ("list device 'lan+'", "list device 'wlan+'", "has device lan+, which leads to board-"),
        (
            "list device 'lan7.+'",
            "list device 'lan10.+'",
            "has device lan7.+, which leads to board-7",
        ),
        (
            "list device 'br-lan.1+'",
            "list device 'br-lan.2+'",
            "has device br-lan.1+, which leads to board-",
        ),
        ("list device '+'", "list device 'eth7'", "has every device"),
        ("option device '*'", "option device 'eth7'", "has every device"),
        ("list device '!eth7'", "list device 'eth8'\n\tlist device '!eth7'", "has every device"),
        ("list network '! lan'", "list network 'lan'\n\tlist device '!eth7'", "has every device"),
        (
            "list subnet '192.168.7.0/24'",
            "list subnet '192.168.7.0/24'\n\tlist network 'lan'",
            "goes by `subnet` alone",
        ),
        ("list device '+'", "list device '+'\n\toption enabled '0'", "has every device"),
    ] {
        let zone = |options: &str| {
            format!("config zone\n\toption name 'mine'\n\t{options}\n\toption input 'ACCEPT'")
        };
        let wanted = format!("firewall zone '@zone[0]' (name 'mine') {wanted}");
        is_named("firewall", &zone(reaches), &zone(reaches_none), &wanted);
    }
}

#[test]
fn dhcp_for_networks_of_boards() {
    for kind in ["dhcp", "relay"] {
        let section =
            |network: &str| format!("config {kind} 'mine'\n\toption interface '{network}'");
        let wanted = format!("dhcp {kind} 'mine' is about octet_board_4, the network of board-4");
        is_named("dhcp", &section("octet_board_4"), &section("wan"), &wanted);
    }
    // Servers that answer only on some networks, and others.
    let with = |text: &str| {
        let all =
            ready(8).replace("\toption domain 'lan'\n", &format!("\toption domain 'lan'\n{text}"));
        change(&all, &rich(8)).needs
    };
    let list = |networks: &mut dyn Iterator<Item = String>| -> String {
        networks.map(|it| format!("\tlist interface '{it}'\n")).collect()
    };
    let ours = || (1..=8).map(|it| format!("octet_board_{it}")).chain(["octet_lan".to_owned()]);
    assert_eq!([with(""), with(&list(&mut ours()))], [vec![""; 0], vec![]]);
    let other = "config dnsmasq 'other'\n";
    for (text, wanted) in [
        ("\tlist interface 'lan'\n".to_owned(), "octet_board_1, octet_board_2"),
        (list(&mut ours().skip(1)), "not at octet_board_1:"),
        ("\tlist notinterface 'octet_board_3'\n".to_owned(), "not at octet_board_3:"),
    ] {
        let found = with(&text);
        assert!(found.len() == 1 && found[0].contains(wanted), "{found:?}");
        assert!(found[0].starts_with("dhcp dnsmasq '@dnsmasq[0]' "), "{found:?}");
        // Another server answers there.
        assert_eq!(with(&format!("{text}\n{other}")), [""; 0]);
    }
}

/// Files that are not UCI are not read; their presence is reported.
#[test]
fn files_of_rules_are_told_of() {
    let lets = |text: &str| with("firewall", text).owner_rules;
    let include = "config include 'mine'\n\toption path '/etc/mine.nft'";
    let off = lets(&format!("{include}\n\toption enabled '0'"));
    assert!(!off.iter().any(|it| it.contains("include")), "{off:?}");
    let on = lets(include);
    assert!(
        on.iter().any(|it| it.contains("firewall include 'mine': path /etc/mine.nft")),
        "{on:?}"
    );
    // An anonymous section is named as by `uci show`: its index is among all of its type.
    let rule = "config rule 'first'\n\toption target 'DROP'\n\nconfig rule\n\toption src '*'\n\toption target 'ACCEPT'";
    for (text, wanted) in [
        (rule.to_owned(), "firewall rule '@rule[1]': src *"),
        (
            format!("{rule}\n\toption name 'my rule'"),
            "firewall rule '@rule[1]' (name 'my rule'): src *",
        ),
    ] {
        let found = lets(&text);
        assert!(found.iter().any(|it| it.starts_with(wanted)), "{found:?}");
    }
}
