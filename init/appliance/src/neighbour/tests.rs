use super::*;
use crate::Appliance;
use crate::descriptor::tests::descriptor;
use proptest::prelude::*;

const BEGINS: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

fn line(name: &str, descriptor: &str, more: &str) -> String {
    format!("[[neighbour]]\nname = \"{name}\"\ndescriptor = \"{descriptor}\"\n{more}\n")
}

fn read(text: &str) -> Result<Vec<Neighbour>, Box<FileError>> {
    let appliance = Appliance::parse("appliance.toml", &format!("{BEGINS}{text}"))?;
    let json = serde_json::to_value(&appliance.neighbour).unwrap();
    assert_eq!(serde_json::from_value::<Vec<Neighbour>>(json).unwrap(), appliance.neighbour);
    Ok(appliance.neighbour)
}

#[test]
fn a_box_without_boards_and_one_with_them() {
    let hill = line("hill", &descriptor(1).to_string(), "at = \"203.0.113.7:51820\"");
    let found = read(&hill).unwrap();
    assert_eq!((found[0].name.as_str(), found[0].board), ("hill", None));
    assert_eq!(found[0].at.unwrap().to_string(), "203.0.113.7:51820");
    assert_eq!(found[0].descriptor, descriptor(1));
    // One node at the router, one at a board, and one that has to contact this box.
    let again = line("hill", &descriptor(1).to_string(), "board = 4");
    let lake = line("lake", &descriptor(2).to_string(), "");
    let found = read(&format!("[cluster]\nboards = 4\n{hill}{again}{lake}")).unwrap();
    assert_eq!(found.iter().map(|it| it.board).collect::<Vec<_>>(), [None, Some(4), None]);
    assert!(found.iter().all(|it| it.price.is_none() && it.max_price.is_none()));
    let found = read(&line("hill", &descriptor(1).to_string(), "price = 5\nmax_price = 7"));
    let found = found.unwrap();
    assert_eq!((found[0].price, found[0].max_price), (Some(5), Some(7)));
    assert_eq!((found[0].object_price, found[0].max_object_price), (None, None));
    let of_objects = "object_price = 3\nmax_object_price = 4";
    let found = read(&line("hill", &descriptor(1).to_string(), of_objects)).unwrap();
    assert_eq!((found[0].object_price, found[0].max_object_price), (Some(3), Some(4)));
    assert_eq!((found[0].price, found[0].max_price), (None, None));
}

/// Each mistake is marked at the line that has to be changed, with what to do.
#[test]
fn mistakes_are_placed() {
    let (one, two) = (descriptor(1).to_string(), descriptor(2).to_string());
    let changed =
        one.replace(&one[120..124], if &one[120..124] == "AAAA" { "BBBB" } else { "AAAA" });
    let text = |name: &str, descriptor: &str, more: &str| {
        format!("[cluster]\nboards = 4\n{}{}", line("hill", &one, ""), line(name, descriptor, more))
    };
    for (text, line, part) in [
        (text("lake", &changed, ""), 16, "has not signed it"),
        (text("lake", &two[4..], ""), 16, "150 bytes"),
        (text("lake", "?", ""), 16, "forward descriptor"),
        (text("hill", &two, ""), 15, "two nodes are called `hill`"),
        (text("lake", &one, ""), 15, "called `hill` already"),
        (text("hill", &one, ""), 15, "`hill` is there twice"),
        (text("hill", &one, "board = 3\nprice = 5"), 15, "has another price already"),
        (text("hill", &one, "board = 3\nobject_price = 5"), 15, "has another price already"),
        (text("hill", &one, "board = 3\nmax_object_price = 5"), 15, "has another price already"),
        (text("lake", &two, "price = -5"), 17, "invalid value"),
        (text("lake", &two, "object_price = -5"), 17, "invalid value"),
        (text("board-2", &two, ""), 15, "not a valid neighbour name"),
        (text("Lake", &two, ""), 15, "not a valid neighbour name"),
        (text("lake", &two, "board = 5"), 17, "there is no board 5"),
        (text("lake", &two, "board = 0"), 17, "there is no board 0"),
        (text("lake", &two, "board = \"3\""), 17, "invalid type"),
        (text("lake", &two, "at = \"hill.example:51820\""), 17, "not an IPv4 address"),
        (text("lake", &two, "at = \"203.0.113.7\""), 17, "not an IPv4 address"),
        (text("lake", &two, "at = \"[2001:db8::7]:51820\""), 17, "not an IPv4 address"),
        (text("lake", &two, "at = \"127.0.0.1:51820\""), 17, "is not an address outside"),
        (text("lake", &two, "at = \"0.0.0.0:51820\""), 17, "is not an address outside"),
        (text("lake", &two, "at = \"255.255.255.255:51820\""), 17, "is not an address outside"),
        (text("lake", &two, "at = \"203.0.113.7:0\""), 17, "is not an address outside"),
        (text("lake", &two, "at = \"10.20.3.2:51820\""), 17, "inside of this box"),
        (text("lake", &two, "key = 7"), 17, "unknown field"),
        (
            text("lake", &two, "").replace(
                "boards = 4",
                "boards = 4\nrouter = \"openwrt\"\n[[board]]\nnumber = 1\nrole = \"manager\"",
            ),
            15,
            "runs OpenWrt",
        ),
        (
            text("lake", &two, "board = 3").replace("[cluster]\nboards = 4\n", ""),
            15,
            "no [cluster]",
        ),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.message.contains(part), "{part}: {error}");
        assert_eq!(error.line, line, "{error}\n{text}");
        assert!(!error.hint.is_empty(), "{error}");
    }
}

#[test]
fn one_node_has_so_many() {
    let lines = |count: u8, board: &str| -> String {
        (1..=count).map(|it| line(&format!("n{it}"), &descriptor(it).to_string(), board)).collect()
    };
    let begin = "[cluster]\nboards = 4\n";
    assert_eq!(read(&format!("{begin}{}", lines(32, ""))).unwrap().len(), 32);
    let error = read(&format!("{begin}{}", lines(33, ""))).unwrap_err();
    assert!(error.message.contains("more than 32"), "{error}");
}

/// A node claims another node's key of `forward` as its own.
#[test]
fn nobody_has_anothers_key() {
    let stolen = crate::descriptor::tests::descriptor_with(3, 1);
    let lines =
        [line("hill", &descriptor(1).to_string(), ""), line("lake", &stolen.to_string(), "")];
    let error = read(&lines.concat()).unwrap_err();
    assert!(error.message.contains("`hill` has the same key"), "{error}");
}

proptest! {
    #[test]
    fn never_panics(name in "\\PC{0,9}", descriptor in "[A-Za-z0-9+/]{0,210}", at in "[0-9.:]{0,24}", board: i64) {
        let _ = read(&line(&name, &descriptor, &format!("at = \"{at}\"\nboard = {board}")));
    }

    #[test]
    fn a_place_prints_as_it_parses(ip: [u8; 4], port: u16) {
        let text = SocketAddrV4::new(ip.into(), port).to_string();
        if let Ok(endpoint) = Endpoint::try_from(text.clone()) {
            prop_assert_eq!(endpoint.to_string(), text);
            prop_assert!(port > 0 && (1..224).contains(&ip[0]) && ip[0] != 127);
        }
    }
}
