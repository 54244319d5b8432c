use octet_appliance::Appliance;

use super::super::super::plan::{RouterNeighbour, RouterPlan};
use super::*;

const BEGINS: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n[cluster]\nboards = 4\n[lan]\n";

/// Two published ports, one of which is translated to another port of its board, and what is
/// allowed to the router itself.
const LINES: &str = "[[publish]]\nport = \"udp/5353\"\nto = \"board-2\"\nat = \"udp/53\"\n\
     [[publish]]\nport = \"tcp/443\"\nto = \"board-3\"\nat = \"tcp/443\"\n\
     [[policy]]\nfrom = \"uplink\"\nto = \"router\"\nprotocol = \"udp\"\nports = [\"60-70\", 5000]\n";

/// Policies for nodes that use this router as exit.
const OUT: &str =
    "[[policy]]\nfrom = \"path\"\nto = \"uplink\"\nprotocol = \"udp\"\nports = [53]\n";

fn plan(lines: &str) -> RouterPlan {
    let text = format!("{BEGINS}{lines}");
    let appliance = Appliance::parse("appliance.toml", &text).unwrap();
    let settings = appliance.cluster_settings().unwrap();
    RouterPlan::new(&settings, &[]).unwrap()
}

fn texts(rules: Vec<NftRule>) -> Vec<String> {
    rules.iter().map(NftRule::to_string).collect()
}

/// A board keeps its own port, others leave by another one, and all other flows keep their port.
#[test]
fn nobody_leaves_by_a_port_of_somebody_else() {
    assert_eq!(
        texts(chain(&plan(LINES), false)),
        [
            "oifname \"eth0\" ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept",
            "oifname \"eth0\" ip saddr 10.20.3.2 tcp sport 443 masquerade",
            "oifname \"eth0\" ip saddr 10.20.0.0/16 tcp sport { 443 } masquerade to :61000-61999",
            "oifname \"eth0\" ip saddr 10.20.2.2 udp sport 5353 masquerade",
            "oifname \"eth0\" ip saddr 10.20.0.0/16 udp sport { 60-70, 5000, 5353 } masquerade to :61000-61999",
            "oifname \"eth0\" ip saddr 10.20.0.0/16 masquerade",
        ]
    );
    assert_eq!(
        texts(behind(&plan(LINES), false)),
        [
            "oifname \"eth0\" ct state new ct original ip saddr 10.20.3.2 tcp sport 443 accept",
            "oifname \"eth0\" ct state new ct original ip saddr 10.20.0.0/16 tcp sport { 443 } drop",
            "oifname \"eth0\" ct state new ct original ip saddr 10.20.2.2 udp sport 5353 accept",
            "oifname \"eth0\" ct state new ct original ip saddr 10.20.0.0/16 udp sport { 60-70, 5000, 5353 } drop",
        ]
    );
}

/// The port of links is reserved if the router has links. That of DHCP always is.
#[test]
fn what_the_router_itself_hears() {
    let reserved = |at: &[Option<&str>]| {
        let mut plan = plan("");
        let neighbour = |at: &Option<&str>| RouterNeighbour {
            name: "hill".into(),
            at: at.map(|at| at.parse().unwrap()),
        };
        plan.neighbours = at.iter().map(neighbour).collect();
        assert_eq!(plan.reserved(Protocol::Tcp), []);
        texts(chain(&plan, true))[1].clone()
    };
    let of = |ports: &str| {
        format!(
            "oifname \"eth0\" ip saddr 10.20.0.0/16 udp sport {{ {ports} }} masquerade to :61000-61999"
        )
    };
    assert_eq!(reserved(&[]), of("68"));
    for at in [None, Some("203.0.113.7:4500")] {
        assert_eq!(reserved(&[at]), of("68, 51820"));
    }
}

/// The same holds for nodes that use this router as exit.
#[test]
fn those_who_leave_by_this_router_neither() {
    let plan = plan(&format!("{LINES}{OUT}"));
    let places = "100.127.255.0/24";
    for forwards in [true, false] {
        let of_places = |rules: Vec<NftRule>| -> Vec<String> {
            let rules = texts(rules).into_iter().filter(|rule| rule.contains(places));
            rules.map(|rule| rule.split(" saddr ").nth(1).unwrap().to_owned()).collect()
        };
        let moved = "masquerade to :61000-61999";
        let wanted = [
            format!("{places} tcp sport {{ 443 }} {moved}"),
            format!("{places} udp sport {{ 60-70, 5000, 5353 }} {moved}"),
            format!("{places} masquerade"),
        ];
        assert_eq!(of_places(chain(&plan, forwards)), wanted[..if forwards { 3 } else { 0 }]);
        assert_eq!(of_places(behind(&plan, forwards)).len(), if forwards { 2 } else { 0 });
    }
}
