//! The fixed part of the table, which does not depend on policies: the chains of the kernel's
//! hooks.

use octet_appliance::{Zone, exit_addresses};

use super::super::chain::{Declared, Hook, NftChain, NftRule, rules};
use super::super::plan::RouterPlan;
use super::super::text::{list, over, quoted};
use super::{Direction, exit, nat_source, tunnels};
use crate::paths::{self, ENDS, NODES, PathDevices};

/// New flows per second that a board may begin, whatever rule allows them: enough for a busy
/// service. With a board's memory the kernel tracks 65536 flows (nf_conntrack_core.c,
/// `nf_conntrack_init_start`); when the table is full, it drops only flows that are not yet
/// established.
pub(super) const NEW_FLOWS: u32 = 1000;

/// Packets per second to `lan` from one port, also within known flows: more than the unit answers
/// one client in both IP versions. All ports share one queue of the unit, which a single sender
/// could otherwise fill.
const QUESTIONS: u32 = 1000;

/// ICMP errors per second from one port that are forwarded or accepted: a congested uplink sends
/// fewer, and an attacker who guesses a flow gains nothing by sending more.
pub const ERRORS: u32 = 100;

/// Neighbour look-ups per second that flows from one port, and answers to it, may cause, besides
/// neighbours used within the last half minute. Each unanswered look-up occupies an entry of the
/// neighbour table, which all ports share, for three seconds (RFC 4861, 10).
const NEXT_HOPS: u32 = 50;

/// Maximum size in bytes of an ICMP error of IPv4, and of the payload of one of IPv6: as much as a
/// router has to quote (RFC 1812, 4.3.2.3; RFC 4443, 2.4 c).
pub const LONGEST_ERROR: [u32; 2] = [576, 1240];

/// The hook behind address translation.
pub const NOBODY: Hook = Hook {
    kind: "filter",
    hook: "postrouting",
    devices: vec![],
    priority: "srcnat + 1",
    policy: "accept",
};

/// The chains that always exist. They are declared first so that the flush finds them, and are then
/// filled.
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

/// Chains whose rules do not depend on the configuration.
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

/// The fixed rules, with those of the unit `forward` if the image has it; `leased` says whether the
/// uplink uses DHCP.
///
/// - Neighbour discovery comes from the link itself (RFC 4861, 7.1: hop limit 255), group queries of
///   switches too (RFC 2710, 3: hop limit 1). The kernel tracks neither.
/// - Only those ICMP errors are accepted that concern an allowed flow (RFC 4890, 4.3), and that come from
///   the side of the end they speak for: the kernel only checks that the receiver has sent what they quote
///   (nf_conntrack_proto.c, `nf_conntrack_inet_error`). From the uplink an error must be about an address
///   that is neither inside, nor of a path end, nor the router's own; the rules record which outside
///   addresses are the router's own when somebody inside uses them. Between link-local addresses there is
///   no router, so errors are not needed.
/// - A neighbour look-up for an answer to a request is allowed. Boards need none: their addresses are known.
/// - The address of a missing board belongs to no segment, so the default route would lead it outside. For
///   an address that nobody can have there is no look-up, because neighbour discovery comes after these
///   hooks.
/// - A DHCP client has no address yet (RFC 2131, 4.1). The kernel would accept such a packet on another
///   port, but it must not be visible outside.
/// - The kernel does not see a DHCP server's message as an answer: the request had the unspecified
///   address as source.
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
        nat_source::behind(plan, forwards),
    ];
    chains.extend([
        ("error_in", NftChain(error_in(plan, forward))),
        ("known_error", NftChain(known_error())),
        ("new", NftChain(new(plan, forward))),
        ("next_hop", NftChain(limit_neighbours("iifname"))),
        ("answer", NftChain(limit_neighbours("oifname"))),
        ("published", NftChain(published(plan))),
        ("source", NftChain(nat_source::chain(plan, forwards))),
        ("nobody", NftChain(nobody.concat())),
        ("forward", NftChain(forward_rules(plan, forward))),
        ("input", NftChain(input(plan, forward, leased))),
        ("output", NftChain(output(plan, forward))),
    ]);
    chains
}

/// Appends the rules of the unit `forward`, if the image has it.
fn if_forward(
    forward: Option<&PathDevices>,
    rules: impl FnOnce(&PathDevices) -> Vec<NftRule>,
) -> Vec<NftRule> {
    forward.map(rules).unwrap_or_default()
}

fn boards(plan: &RouterPlan) -> String {
    list(plan.boards.iter().map(|board| quoted(&board.device)))
}

/// The devices behind which the nodes are not known from the configuration.
fn unknown_nodes(plan: &RouterPlan) -> String {
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
        if_forward(forward, |_| tunnels::error_of_links()),
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
        if_forward(forward, |_| exit::errors(plan)),
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
    let (boards, others, flows) = (boards(plan), unknown_nodes(plan), over(NEW_FLOWS));
    let all = list(plan.devices().map(quoted));
    [
        rules!["iifname {{ {boards} }} update @new_flows {{ iifname {flows} }} goto too_many"],
        if_forward(forward, |_| exit::new(plan)),
        rules!["iifname {{ {all} }} oifname {{ {others} }} jump next_hop"],
    ]
    .concat()
}

/// Limits neighbour look-ups for packets that are received or sent on the device that `way` names.
fn limit_neighbours(way: &str) -> Vec<NftRule> {
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

/// Packets to addresses that cannot be outside never leave by the uplink, whatever the routes, and
/// not within an established flow either: addresses inside; those of nodes and path ends, which are
/// behind devices of `forward` only; those of nodes that use this router as exit.
fn never_outside(plan: &RouterPlan, refuse: &str) -> Vec<NftRule> {
    let (uplink, inside, inside6) = (quoted(&plan.uplink), plan.network, plan.network6);
    let mut rules = rules![
        "oifname {uplink} ip daddr {{ {inside}, {ENDS} }} goto {refuse}",
        "oifname {uplink} ip6 daddr {{ {inside6}, {NODES} }} goto {refuse}",
    ];
    if plan.is_exit() {
        let places = exit_addresses();
        rules.extend(rules!["oifname {uplink} ip daddr {places} goto {refuse}"]);
    }
    rules
}

fn forward_rules(plan: &RouterPlan, forward: Option<&PathDevices>) -> Vec<NftRule> {
    let (uplink, boards) = (quoted(&plan.uplink), boards(plan));
    let nobody_of_lan = plan.lan.iter().flat_map(|lan| {
        // Addresses of the owner's network that no device can have.
        let (lan, [ip4, ip6]) = (quoted(&lan.device), lan.devices());
        rules![
            "oifname {lan} ip daddr != {ip4} goto refuse",
            "oifname {lan} ip6 daddr != {ip6} goto refuse",
        ]
    });
    [
        exit::forward(plan, forward.is_some()),
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
        tunnels::policies(plan, Direction::Forward),
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
        if_forward(forward, |_| paths::input()),
        rules![
            "icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} ip6 hoplimit 255 counter name neighbours accept",
            "icmpv6 type mld-listener-query ip6 hoplimit 1 ip6 saddr fe80::/10 counter name neighbours accept",
        ],
        // The kernel does not track router advertisements.
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
        if_forward(forward, |forward| tunnels::links_in(plan, forward)),
        // Answers of a DHCP server to the router's own request, which the kernel does not match to
        // a flow: the request was a broadcast.
        if_leased(rules![
            "iifname {uplink} meta nfproto ipv4 udp sport 67 udp dport 68 counter name dhcp accept"
        ]),
        rules!["goto refuse"],
    ]
    .concat()
}

fn output(plan: &RouterPlan, forward: Option<&PathDevices>) -> Vec<NftRule> {
    let others = unknown_nodes(plan);
    [
        if_forward(forward, PathDevices::output),
        rules![
            "oifname lo goto on_board",
            "icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, mld-listener-report, mld-listener-done, mld2-listener-report }} accept",
        ],
        // A separate chain checks what the router sends on these devices.
        if_forward(forward, |_| rules!["oifname \"f*\" goto to_forward"]),
        never_outside(plan, "refuse_own"),
        exit::own_errors(plan),
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
        if_forward(forward, |forward| tunnels::links_out(plan, forward)),
        rules!["goto refuse_own"],
    ]
    .concat()
}
