use super::*;
use crate::Appliance;
use proptest::prelude::*;

const SMALL: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\n\
                     services = []\n";

fn read(sections: &str) -> Result<Appliance, Box<FileError>> {
    Appliance::parse("appliance.toml", &format!("{SMALL}{sections}"))
}

#[test]
fn what_is_not_said_is_as_the_document_says() {
    let appliance = read("[cluster]\nboards = 16\n[lan]\n").unwrap();
    let cluster = appliance.cluster.unwrap();
    assert_eq!((cluster.uplink.as_str(), cluster.ports.len()), ("eth0", 16));
    assert_eq!((cluster.ports[0].as_str(), cluster.ports[15].as_str()), ("eth1", "eth16"));
    assert_eq!(cluster.lan(&appliance.lan.unwrap()).as_str(), "eth17");
    assert_eq!(cluster.network.host(16, 2).to_string(), "10.20.16.2");
    assert_eq!(cluster.network6.host(16, 2).to_string(), "fd6f:6374:6574:10::2");
    let json = serde_json::to_string(&cluster).unwrap();
    assert_eq!(serde_json::from_str::<Cluster>(&json).unwrap(), cluster);
}

#[test]
fn boards_that_swap_their_ports() {
    let text =
        "[cluster]\nboards = 4\n[[board]]\nnumber = 1\nport = 2\n[[board]]\nnumber = 2\nport = 1\n";
    let appliance = read(text).unwrap();
    let cluster = appliance.cluster.unwrap();
    let ports: Vec<_> = (1..=4).map(|number| cluster.port(&appliance.board, number)).collect();
    assert_eq!(ports, [2, 1, 3, 4]);
    let error = read(text.split("[[board]]\nnumber = 2").next().unwrap()).unwrap_err();
    assert!(error.message.contains("boards 1 and 2 cannot both have port 2"), "{error}");
    assert_eq!(error.line, 12);
}

#[test]
fn mistakes_are_placed() {
    let good = "[cluster]\nboards = 4\nuplink = \"eth0\"\nports = [\"eth1\", \"eth2\", \"eth3\", \"eth4\"]\n\
                network = \"10.20.0.0/16\"\nnetwork6 = \"fd00:1:2::/48\"\n\
                [[board]]\nnumber = 1\nmac = \"02:00:00:00:00:01\"\n\
                [[board]]\nnumber = 2\nmac = \"02:00:00:00:00:02\"\nrole = \"cache\"\n\
                [lan]\nport = \"eth5\"\n";
    read(good).unwrap();
    for (from, to, line, words) in [
        ("boards = 4", "boards = 5", 9, "no box of 5"),
        (", \"eth4\"]", "]", 11, "3 devices"),
        ("\"eth4\"]", "\"eth2\"]", 11, "both port 2 and port 4"),
        ("\"eth4\"]", "\"eth0\"]", 11, "both the uplink and port 4"),
        ("10.20.0.0/16", "10.20.1.0/16", 12, "no network of 16 bits"),
        ("10.20.0.0/16", "10.20.0.0/24", 12, "no network of 16 bits"),
        ("10.20.0.0/16", "127.1.0.0/16", 12, "no network of 16 bits"),
        ("fd00:1:2::/48", "fe80::/48", 13, "no network of 48 bits"),
        ("fd00:1:2::/48", "fd00:1:2:3::/48", 13, "no network of 48 bits"),
        ("number = 1", "number = 5", 15, "no board 5"),
        ("number = 2", "number = 1", 18, "board 1 is there twice"),
        ("number = 2", "number = 2\nport = 5", 19, "no port 5"),
        ("00:02\"", "00:01\"", 19, "board 1 has the address"),
        ("02:00:00:00:00:01", "03:00:00:00:00:01", 16, "no Ethernet address of a device"),
        ("02:00:00:00:00:01", "2:0:0:0:0:1", 16, "no Ethernet address"),
        ("\"cache\"", "\"Cache\"", 20, "no valid role"),
        ("\"eth5\"", "\"eth3\"", 22, "both port 3 and lan"),
    ] {
        let error = read(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.message.contains(words), "{from} {to}: {error}");
        assert_eq!(error.line, line, "{from} {to}: {error}");
        assert!(!error.hint.is_empty());
    }
    let error = read("[network]\nlink = \"eth1\"\n[cluster]\nboards = 4\n").unwrap_err();
    assert!(error.line == 9 && error.message.contains("uplink is `eth0`"), "{error}");
    let error = read("[lan]\n").unwrap_err();
    assert!(error.line == 8 && error.message.contains("[cluster]"), "{error}");
}

#[test]
fn a_device_says_its_address_on_the_link() {
    let mac = Mac::try_from("02:00:00:00:00:0a".to_owned()).unwrap();
    assert_eq!(mac.link_local().to_string(), "fe80::ff:fe00:a");
}

proptest! {
    #[test]
    fn an_ethernet_address_prints_as_it_parses(bytes: [u8; 6], text in "\\PC{0,20}") {
        if let Some(mac) = Mac::new(bytes) {
            prop_assert_eq!(Mac::try_from(mac.to_string()), Ok(mac));
        }
        let _ = Mac::try_from(text.clone());
        let _ = Network4::try_from(text.clone());
        let _ = Network6::try_from(text);
    }
}
