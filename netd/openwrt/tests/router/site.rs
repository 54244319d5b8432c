//! A simulated router, set up by its owner for a box of eight boards, and a client for it.

use std::rc::Rc;

use octet_appliance::{Appliance, Fingerprint};
use octet_openwrt::adopt;
use octet_openwrt::https::Https;
use octet_openwrt::ubus::{Login, Ubus};
use octet_openwrt_double::{Router, Server};
use octet_router::openwrt::router::is_ours;
use octet_router::openwrt::uci;
use octet_router::plan::RouterPlan;

/// A box and its ports.
pub const HEAD: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n\
    [cluster]\nboards = 8\nrouter = \"openwrt\"\nuplink = \"wan\"\n\
    ports = [\"lan1\", \"lan2\", \"lan3\", \"lan4\", \"lan5\", \"lan6\", \"lan7\", \"lan8\"]\n\
    [[board]]\nnumber = 1\nrole = \"manager\"\n[lan]\nport = \"lan9\"\n";

/// Policies for boards, the owner's devices and the uplink.
pub const LINES: &str = "[[policy]]\nfrom = \"boards\"\nto = [\"boards\", \"uplink\"]\nprotocol = \"udp\"\nports = [51820, 4433]\n\
    [[policy]]\nfrom = \"lan\"\nto = \"boards\"\nprotocol = \"tcp\"\nports = [8080]\nrate = 100\n\
    [[publish]]\nport = \"tcp/443\"\nto = \"board-2\"\nat = \"tcp/8443\"\n";

/// Files in which the owner has sections.
const FILES: [&str; 4] = ["network", "firewall", "dhcp", "system"];

/// The plan of the box with these policies.
pub fn plan(lines: &str) -> RouterPlan {
    plan_of(HEAD, lines)
}

/// The plan of another box.
pub fn plan_of(head: &str, lines: &str) -> RouterPlan {
    let text = format!("{head}{lines}");
    let appliance = Appliance::parse("a.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let settings = appliance.cluster_settings().unwrap();
    RouterPlan::new(&settings, &[]).unwrap()
}

/// A router whose owner has put his own device, and the interface `lan` there, into VLAN 1: nothing
/// conflicts.
pub fn router() -> Router {
    let stock = Router::default().file("network");
    let network = stock
        .replace(
            "\tlist ports 'lan8'\n",
            "\tlist ports 'lan8'\n\tlist ports 'lan9'\n\tlist ports 'lan10'\n",
        )
        .replace("option device 'br-lan'", "option device 'br-lan.1'")
        + "config bridge-vlan 'mine'\n\toption device 'br-lan'\n\toption vlan '1'\n\tlist ports 'lan10:u*'\n\n";
    let mut router = Router::with(&[("network", &network)]);
    set_up(&mut router);
    router
}

/// The owner's further set-up: his own port is the last one, and our login has exactly the rights
/// of its ACL.
pub fn set_up(router: &mut Router) {
    router.port = "lan10".to_owned();
    router.add_login(adopt::LOGIN, "secret", adopt::acl());
}

/// The simulated router, on a port of this computer.
pub struct Site(pub Rc<Server>);

impl Site {
    pub fn start(router: Router) -> Self {
        Self(Rc::new(Server::start(router).unwrap()))
    }

    pub fn https(&self) -> Https {
        let fingerprint = Fingerprint::new(self.0.fingerprint());
        Https::new(&self.0.address().to_string(), Some(fingerprint)).unwrap()
    }

    /// The login with the rights that an apply needs.
    pub fn login(&self) -> Login {
        Login { name: adopt::LOGIN.to_owned(), password: "secret".to_owned() }
    }

    /// A client for it; simulated time passes only when it waits.
    pub fn ubus(&self) -> Ubus {
        self.ubus_as(self.login())
    }

    /// The same with another login.
    pub fn ubus_as(&self, login: Login) -> Ubus {
        let server = Rc::clone(&self.0);
        Ubus::new(self.https(), login, Box::new(move |time| server.pass(time)))
    }

    /// Sections on the flash: ours, and the owner's.
    pub fn sections(&self) -> [Vec<String>; 2] {
        let (mut ours, mut owners) = (vec![], vec![]);
        for file in FILES {
            let text = format!("package {file}\n{}", self.0.with(|router| router.file(file)));
            for mut section in uci::parse(&text).unwrap() {
                section.options.sort_by(|(a, _), (b, _)| a.cmp(b));
                let all = if is_ours(&section) { &mut ours } else { &mut owners };
                all.push(format!("{file}: {section}"));
            }
        }
        ours.sort();
        [ours, owners]
    }
}
