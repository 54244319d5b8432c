//! What is in the table whatever lines the file has: the chains of the kernel's hooks.

use octet_appliance::{Zone, places};

use super::super::chain::{Declared, Hook, NftChain, NftRule, rules};
use super::super::plan::RouterPlan;
use super::super::text::{list, over, quoted};
use super::{Direction, forwarded, leaving, source};
use crate::paths::{self, ENDS, NODES, PathDevices};

/// New flows that a board may begin in a second, whatever lets them: enough for a busy service. With a
/// board's memory the kernel keeps note of 65536 flows (nf_conntrack_core.c, `nf_conntrack_init_start`);
/// when they are there, it forgets those that are half begun, and no others.
pub(super) const NEW_FLOWS: u32 = 1000;

/// Questions to `lan` in a second from one port, whether or not they are of a flow that is known: more than
/// the unit answers one client in both versions of IP. All ports wait in one queue for it, and whoever asks
/// without end would fill that.
const QUESTIONS: u32 = 1000;

/// Errors of ICMP in a second from one port that are handed on or taken: a busy way out says less, and whoever can
/// guess a flow says no more by them.
pub const ERRORS: u32 = 100;

/// Next hops in a second that flows from one port, and answers to it, may make the kernel look for, beside those of the
/// last half minute: whoever does not answer takes a place in its table for three seconds (RFC 4861, 10), in one table
/// for all ports.
const NEXT_HOPS: u32 = 50;

/// The longest error of IPv4, and what follows the header of one of IPv6: as much as a router has to quote
/// (RFC 1812, 4.3.2.3; RFC 4443, 2.4 c), and nothing behind it.
pub const LONGEST_ERROR: [u32; 2] = [576, 1240];

/// The chain of the hook behind those that change addresses.
pub const NOBODY: Hook = Hook {
    kind: "filter",
    hook: "postrouting",
    devices: vec![],
    priority: "srcnat + 1",
    policy: "accept",
};

/// The chains that are always there. They are named first, so that the flush finds them, and filled
/// again.
pub(super) const FRAME: [Declared; 31] = [
    Declared::Counter("neighbours"),
    Declared::Counter("dhcp"),
    Declared::Counter("invalid"),
    Declared::Counter("published"),
    Declared::Counter("denied_own"),
    Declared::Set("new_flows", "type ifname; size 64; flags dynamic"),
    Declared::Set("pings", "type ifname; size 64; flags dynamic"),
    Declared::Set("questions", "type ifname; size 64; flags dynamic"),
    Declared::Set("errors", "type ifname; size 64; flags dynamic"),
    Declared::Set("next_hops", "type ifname; size 64; flags dynamic"),
    Declared::Set(
        "near4",
        "type ifname . ipv4_addr; size 16384; flags dynamic,timeout; timeout 30s",
    ),
    Declared::Set(
        "near6",
        "type ifname . ipv6_addr; size 16384; flags dynamic,timeout; timeout 30s",
    ),
    Declared::Set("own4", "type ipv4_addr; size 64; flags dynamic"),
    Declared::Set("own6", "type ipv6_addr; size 64; flags dynamic"),
    Declared::Chain("too_many"),
    Declared::Chain("invalid"),
    Declared::Chain("error"),
    Declared::Chain("error_in"),
    Declared::Chain("known_error"),
    Declared::Chain("stray_error"),
    Declared::Chain("new"),
    Declared::Chain("next_hop"),
    Declared::Chain("answer"),
    Declared::Chain("refuse"),
    Declared::Chain("refuse_own"),
    Declared::Base("input", Hook::filter("input", "drop")),
    Declared::Base("forward", Hook::filter("forward", "drop")),
    Declared::Base("output", Hook::filter("output", "drop")),
    Declared::Base(
        "published",
        Hook {
            kind: "nat",
            hook: "prerouting",
            devices: vec![],
            priority: "dstnat",
            policy: "accept",
        },
    ),
    Declared::Base(
        "source",
        Hook {
            kind: "nat",
            hook: "postrouting",
            devices: vec![],
            priority: "srcnat",
            policy: "accept",
        },
    ),
    Declared::Base("nobody", NOBODY),
];

/// The chains that are always there and the same whatever the file says.
const FIXED: [(&str, &[&str]); 6] = [
    (
        "refuse",
        &[
            "limit rate 10/minute burst 5 packets log prefix \"octet: no policy allows this: \"",
            "iifname @denied drop",
            "drop",
        ],
    ),
    ("too_many", &["iifname @too_many drop", "oifname @too_many drop", "drop"]),
    ("invalid", &["counter name invalid drop"]),
    (
        "error",
        &[
            "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
            "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
            "goto refuse",
        ],
    ),
    ("stray_error", &["iifname @icmp_error drop", "drop"]),
    ("refuse_own", &["counter name denied_own drop"]),
];

/// What is in the table whatever the file says, with the rules of the unit `forward` if the image has it; `leased` if
/// the router asks for its address.
///
/// - Neighbour discovery comes from the link itself (RFC 4861, 7.1: hop limit 255), questions of
///   switches about groups too (RFC 2710, 3: hop limit 1). The kernel tracks neither.
/// - Of errors only those that mean a flow that was let (RFC 4890, 4.3), and come from where the end of it is that
///   they speak for: the kernel asks only whether whom they are for has sent what they quote (nf_conntrack_proto.c,
///   `nf_conntrack_inet_error`). From the uplink that is whoever is neither inside, nor at the end of a path, nor the
///   router: which addresses outside are its own it notes when somebody inside speaks with it by one. Between
///   link-local addresses nobody is on the way, so there errors are not needed.
/// - Whoever has asked is looked for, to be answered. A board is not: it is known where it is.
/// - A board that is not there has an address that leads nowhere, and by the default route outside. For an address
///   that nobody can have, nobody is looked for: a neighbour is after these hooks.
/// - Who asks for an address has none yet (RFC 2131, 4.1). The kernel takes one of another port: nobody
///   outside is to see that.
/// - What a DHCP server says is no answer to the kernel: the question came from nobody's address.
pub(super) fn chains(
    plan: &RouterPlan,
    forward: Option<&PathDevices>,
    leased: bool,
) -> Vec<(&'static str, NftChain)> {
    let uplink = quoted(&plan.uplink);
    let mut chains: Vec<_> = FIXED
        .map(|(name, rules)| (name, NftChain(rules.iter().copied().map(NftRule::from).collect())))
        .into();
    let forwards = forward.is_some();
    let nobody = [
        rules![
            "oifname {uplink} ip daddr 255.255.255.255 udp sport 68 udp dport 67 ip saddr set 0.0.0.0 accept"
        ],
        source::behind(plan, forwards),
    ];
    chains.extend([
        ("error_in", NftChain(error_in(plan, forward))),
        ("known_error", NftChain(known_error())),
        ("new", NftChain(new(plan, forward))),
        ("next_hop", NftChain(near("iifname"))),
        ("answer", NftChain(near("oifname"))),
        ("published", NftChain(published(plan))),
        ("source", NftChain(source::chain(plan, forwards))),
        ("nobody", NftChain(nobody.concat())),
        ("forward", NftChain(handed_on(plan, forward))),
        ("input", NftChain(input(plan, forward, leased))),
        ("output", NftChain(output(plan, forward))),
    ]);
    chains
}

/// What the unit `forward` adds, if it is there.
fn with(
    forward: Option<&PathDevices>,
    rules: impl FnOnce(&PathDevices) -> Vec<NftRule>,
) -> Vec<NftRule> {
    forward.map(rules).unwrap_or_default()
}

fn boards(plan: &RouterPlan) -> String {
    list(plan.boards.iter().map(|board| quoted(&board.device)))
}

/// The devices behind which it is not known who is there.
fn others(plan: &RouterPlan) -> String {
    list(plan.lan.iter().map(|lan| &lan.device).chain([&plan.uplink]).map(quoted))
}

fn error_in(plan: &RouterPlan, forward: Option<&PathDevices>) -> Vec<NftRule> {
    let (uplink, inside, inside6) = (quoted(&plan.uplink), plan.network, plan.network6);
    let of_lan = plan.lan.iter().flat_map(|lan| {
        let (lan, [ip4, ip6]) = (quoted(&lan.device), lan.devices());
        rules![
            "iifname {lan} ct direction reply ct reply ip saddr {ip4} goto known_error",
            "iifname {lan} ct direction original ct original ip saddr {ip4} goto known_error",
            "iifname {lan} ct direction reply ct reply ip6 saddr {ip6} goto known_error",
            "iifname {lan} ct direction original ct original ip6 saddr {ip6} goto known_error",
        ]
    });
    [
        with(forward, |_| forwarded::error_of_links()),
        rules![
            "ct direction reply iifname . ct reply ip saddr @boards4 goto known_error",
            "ct direction original iifname . ct original ip saddr @boards4 goto known_error",
            "ct direction reply iifname . ct reply ip6 saddr @boards6 goto known_error",
            "ct direction original iifname . ct original ip6 saddr @boards6 goto known_error",
        ],
        of_lan.collect(),
        rules![
            "iifname {uplink} ct direction reply ct reply ip saddr != {{ {inside}, {ENDS} }} ct reply ip saddr != @own4 goto known_error",
            "iifname {uplink} ct direction original ct original ip saddr != {{ {inside}, {ENDS} }} ct original ip saddr != @own4 goto known_error",
            "iifname {uplink} ct direction reply ct reply ip6 saddr != {{ {inside6}, {NODES}, fe80::/10 }} ct reply ip6 saddr != @own6 goto known_error",
            "iifname {uplink} ct direction original ct original ip6 saddr != {{ {inside6}, {NODES}, fe80::/10 }} ct original ip6 saddr != @own6 goto known_error",
        ],
        with(forward, |_| leaving::errors(plan)),
        rules!["goto stray_error"],
    ]
    .concat()
}

fn known_error() -> Vec<NftRule> {
    let ([longest, longest6], errors) = (LONGEST_ERROR, over(ERRORS));
    rules![
        "ip length > {longest} goto stray_error",
        "ip6 length > {longest6} goto stray_error",
        "update @errors {{ iifname {errors} }} goto too_many",
        "goto error",
    ]
}

fn new(plan: &RouterPlan, forward: Option<&PathDevices>) -> Vec<NftRule> {
    let (boards, others, flows) = (boards(plan), others(plan), over(NEW_FLOWS));
    let all = list(plan.devices().map(quoted));
    [
        rules!["iifname {{ {boards} }} update @new_flows {{ iifname {flows} }} goto too_many"],
        with(forward, |_| leaving::new(plan)),
        rules!["iifname {{ {all} }} oifname {{ {others} }} jump next_hop"],
    ]
    .concat()
}

/// The next hop of what comes or leaves by the device that `way` names is looked for.
fn near(way: &str) -> Vec<NftRule> {
    let next_hops = over(NEXT_HOPS);
    rules![
        "{way} . rt ip nexthop @near4 update @near4 {{ {way} . rt ip nexthop }} return",
        "{way} . rt ip6 nexthop @near6 update @near6 {{ {way} . rt ip6 nexthop }} return",
        "update @next_hops {{ {way} {next_hops} }} goto too_many",
        "update @near4 {{ {way} . rt ip nexthop }}",
        "update @near6 {{ {way} . rt ip6 nexthop }}",
    ]
}

fn published(plan: &RouterPlan) -> Vec<NftRule> {
    let uplink = quoted(&plan.uplink);
    let mut rules = vec![];
    for it in &plan.published {
        let (protocol, from, to) = (it.port.protocol.as_str(), it.port.number, it.target.number);
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board));
        let Some((ip4, ip6)) = board.and_then(|board| board.board) else { continue };
        for (version, target) in
            [("ipv4", format!("ip to {ip4}:{to}")), ("ipv6", format!("ip6 to [{ip6}]:{to}"))]
        {
            rules.extend(rules![
                "iifname {uplink} meta nfproto {version} fib daddr . iif type local {protocol} dport {from} dnat {target}"
            ]);
        }
    }
    rules
}

/// What is no address of anybody outside leaves for it by the uplink never, whichever routes there are or not, and not if
/// it belongs to a flow either: of those inside; of nodes, and of ends of paths, which are behind devices of `forward`
/// alone; of those who leave by this router.
fn never_outside(plan: &RouterPlan, refuse: &str) -> Vec<NftRule> {
    let (uplink, inside, inside6) = (quoted(&plan.uplink), plan.network, plan.network6);
    let mut rules = rules![
        "oifname {uplink} ip daddr {{ {inside}, {ENDS} }} goto {refuse}",
        "oifname {uplink} ip6 daddr {{ {inside6}, {NODES} }} goto {refuse}",
    ];
    if plan.is_exit() {
        let places = places();
        rules.extend(rules!["oifname {uplink} ip daddr {places} goto {refuse}"]);
    }
    rules
}

fn handed_on(plan: &RouterPlan, forward: Option<&PathDevices>) -> Vec<NftRule> {
    let (uplink, boards) = (quoted(&plan.uplink), boards(plan));
    let nobody_of_lan = plan.lan.iter().flat_map(|lan| {
        // Addresses of the owner's network that none of his devices can have.
        let (lan, [ip4, ip6]) = (quoted(&lan.device), lan.devices());
        rules![
            "oifname {lan} ip daddr != {ip4} goto refuse",
            "oifname {lan} ip6 daddr != {ip6} goto refuse",
        ]
    });
    [
        leaving::handed_on(plan, forward.is_some()),
        never_outside(plan, "refuse"),
        rules![
            "ct state vmap {{ established : accept, related : goto error_in, invalid : goto invalid, untracked : drop }}",
            "oifname {{ {boards} }} meta nfproto ipv4 oifname . ip daddr != @boards4 goto refuse",
            "oifname {{ {boards} }} meta nfproto ipv6 oifname . ip6 daddr != @boards6 goto refuse",
        ],
        nobody_of_lan.collect(),
        rules![
            "iifname . oifname . meta l4proto . th dport vmap @forward_port",
            "iifname . oifname . meta l4proto . th dport vmap @forward_range",
            "iifname . oifname . meta l4proto vmap @forward_number",
            "icmp type echo-request iifname . oifname vmap @forward_ping",
            "icmpv6 type echo-request iifname . oifname vmap @forward_ping",
        ],
        forwarded::lines(plan, Direction::Forward),
        rules!["iifname {uplink} ct status dnat counter name published accept", "goto refuse"],
    ]
    .concat()
}

fn input(plan: &RouterPlan, forward: Option<&PathDevices>, leased: bool) -> Vec<NftRule> {
    let (uplink, questions) = (quoted(&plan.uplink), over(QUESTIONS));
    let (inside, inside6) = (plan.network, plan.network6);
    let ports = list(plan.segments().map(|it| quoted(&it.device)));
    let if_leased = |rules: Vec<NftRule>| if leased { rules } else { vec![] };
    [
        rules!["iifname lo accept"],
        with(forward, |_| paths::input()),
        rules![
            "icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} ip6 hoplimit 255 counter name neighbours accept",
            "icmpv6 type mld-listener-query ip6 hoplimit 1 ip6 saddr fe80::/10 counter name neighbours accept",
        ],
        // The kernel does not track advertisements.
        if_leased(rules![
            "iifname {uplink} icmpv6 type nd-router-advert ip6 hoplimit 255 ip6 saddr fe80::/10 counter name neighbours accept"
        ]),
        rules![
            "iifname {{ {ports} }} udp dport {{ 53, 67, 123, 547 }} update @questions {{ iifname {questions} }} goto too_many",
            "ct state vmap {{ established : accept, related : goto error_in, invalid : goto invalid, untracked : drop }}",
            "iifname {{ {ports} }} ip daddr != {{ {inside}, 224.0.0.0/3 }} add @own4 {{ ip daddr }}",
            "iifname {{ {ports} }} ip6 daddr != {{ {inside6}, {NODES}, fe80::/10, ff00::/8 }} add @own6 {{ ip6 daddr }}",
            "iifname . meta l4proto . th dport vmap @input_port",
            "iifname . meta l4proto . th dport vmap @input_range",
            "iifname . meta l4proto vmap @input_number",
            "icmp type echo-request iifname vmap @input_ping",
            "icmpv6 type echo-request iifname vmap @input_ping",
        ],
        with(forward, |forward| forwarded::links_in(plan, forward)),
        // The answers of a DHCP server to the router's own question, for which the kernel knows no flow: it went to
        // everybody.
        if_leased(rules![
            "iifname {uplink} meta nfproto ipv4 udp sport 67 udp dport 68 counter name dhcp accept"
        ]),
        rules!["goto refuse"],
    ]
    .concat()
}

fn output(plan: &RouterPlan, forward: Option<&PathDevices>) -> Vec<NftRule> {
    let others = others(plan);
    [
        with(forward, PathDevices::output),
        rules![
            "oifname lo goto on_board",
            "icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, mld-listener-report, mld-listener-done, mld2-listener-report }} accept",
        ],
        // What the router sends by these devices is asked by itself.
        with(forward, |_| rules!["oifname \"f*\" goto to_forward"]),
        never_outside(plan, "refuse_own"),
        leaving::own_errors(plan),
        rules![
            "oifname {{ {others} }} ct direction reply jump answer",
            "ct state vmap {{ established : accept, related : goto error, invalid : goto invalid, untracked : drop }}",
            "udp sport 67 udp dport 68 accept",
            "udp sport 547 udp dport 546 accept",
            "oifname . meta l4proto . th dport vmap @output_port",
            "oifname . meta l4proto . th dport vmap @output_range",
            "oifname . meta l4proto vmap @output_number",
            "icmp type echo-request oifname vmap @output_ping",
            "icmpv6 type echo-request oifname vmap @output_ping",
        ],
        with(forward, |forward| forwarded::links_out(plan, forward)),
        rules!["goto refuse_own"],
    ]
    .concat()
}
