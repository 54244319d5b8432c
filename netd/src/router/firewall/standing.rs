//! What is in the table whatever lines the file has: the chains of the kernel's hooks.

use octet_appliance::Zone;

use super::super::plan::Plan;
use super::super::text::{list, quoted};
use super::forwarded;
use crate::paths::{ENDS, NODES, Paths};

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

/// The chains that are always there. They are named first, so that the flush finds them, and filled
/// again.
pub(super) const FRAME: &str = "  counter neighbours { }
  counter dhcp { }
  counter invalid { }
  counter published { }
  counter denied_own { }
  set new_flows { type ifname; size 64; flags dynamic; }
  set pings { type ifname; size 64; flags dynamic; }
  set questions { type ifname; size 64; flags dynamic; }
  set errors { type ifname; size 64; flags dynamic; }
  set next_hops { type ifname; size 64; flags dynamic; }
  set near4 { type ifname . ipv4_addr; size 16384; flags dynamic,timeout; timeout 30s; }
  set near6 { type ifname . ipv6_addr; size 16384; flags dynamic,timeout; timeout 30s; }
  set own4 { type ipv4_addr; size 64; flags dynamic; }
  set own6 { type ipv6_addr; size 64; flags dynamic; }
  chain too_many { }
  chain invalid { }
  chain error { }
  chain error_in { }
  chain known_error { }
  chain stray_error { }
  chain new { }
  chain next_hop { }
  chain answer { }
  chain refuse { }
  chain refuse_own { }
  chain input { type filter hook input priority filter; policy drop; }
  chain forward { type filter hook forward priority filter; policy drop; }
  chain output { type filter hook output priority filter; policy drop; }
  chain published { type nat hook prerouting priority dstnat; policy accept; }
  chain source { type nat hook postrouting priority srcnat; policy accept; }
  chain nobody { type filter hook postrouting priority srcnat + 1; policy accept; }
";

/// The rules of the chains that are always there, with those of the unit `forward` if the image has it; `leased`
/// if the router asks for its address.
pub(super) fn rules(plan: &Plan, forward: Option<&Paths>, leased: bool) -> String {
    let mut published = String::new();
    for it in &plan.published {
        let (protocol, from, to) = (it.port.protocol.as_str(), it.port.number, it.target.number);
        let board = plan.boards.iter().find(|board| board.zone == Zone::Board(it.board));
        let Some((ip4, ip6)) = board.and_then(|board| board.board) else { continue };
        let uplink = quoted(&plan.uplink);
        for (version, target) in
            [("ipv4", format!("ip to {ip4}:{to}")), ("ipv6", format!("ip6 to [{ip6}]:{to}"))]
        {
            published += &format!(
                "    iifname {uplink} meta nfproto {version} fib daddr . iif type local {protocol} dport {from} dnat {target}\n"
            );
        }
    }
    let of_lan = |rules: &str| {
        let lan = plan.lan.iter().map(|lan| (quoted(&lan.device), lan.devices()));
        let rules = lan.map(|(device, [ip4, ip6])| {
            rules.replace("$lan", &device).replace("$devices4", &ip4).replace("$devices6", &ip6)
        });
        rules.collect::<String>()
    };
    let boards = plan.boards.iter().map(|board| quoted(&board.device));
    let lan = plan.lan.iter().map(|lan| quoted(&lan.device));
    let ports = boards.clone().chain(lan.clone());
    let others = lan.chain([quoted(&plan.uplink)]);
    forwarded::fill(RULES, plan, forward)
        .replace("    $published\n", &published)
        .replace("    $leased\n", if leased { LEASED } else { "" })
        .replace("    $advertised\n", if leased { ADVERTISED } else { "" })
        .replace("$uplink", &quoted(&plan.uplink))
        .replace("$boards", &list(boards))
        .replace("$ports", &list(ports))
        .replace("$questions", &QUESTIONS.to_string())
        .replace("$errors", &ERRORS.to_string())
        .replace("$longest6", &LONGEST_ERROR[1].to_string())
        .replace("$longest", &LONGEST_ERROR[0].to_string())
        .replace("    $error_of_lan\n", &of_lan(ERROR_OF_LAN))
        .replace("    $nobody_of_lan\n", &of_lan(NOBODY_OF_LAN))
        .replace("$next_hops", &NEXT_HOPS.to_string())
        .replace("$all", &list(plan.devices().map(quoted)))
        .replace("$others", &list(others))
        .replace("$ends", ENDS)
        .replace("$nodes", NODES)
        .replace("$inside", &plan.network.to_string())
        .replace("$6inside", &plan.network6.to_string())
        .replace("$new", &NEW_FLOWS.to_string())
}

/// The answers of a DHCP server to the router's own question, for which the kernel knows no flow:
/// it went to everybody.
const LEASED: &str =
    "    iifname $uplink meta nfproto ipv4 udp sport 67 udp dport 68 counter name dhcp accept\n";

/// The kernel does not track advertisements.
const ADVERTISED: &str = "    iifname $uplink icmpv6 type nd-router-advert ip6 hoplimit 255 ip6 saddr fe80::/10 counter name neighbours accept\n";

/// Errors from the owner's devices.
const ERROR_OF_LAN: &str =
    "    iifname $lan ct direction reply ct reply ip saddr $devices4 goto known_error
    iifname $lan ct direction original ct original ip saddr $devices4 goto known_error
    iifname $lan ct direction reply ct reply ip6 saddr $devices6 goto known_error
    iifname $lan ct direction original ct original ip6 saddr $devices6 goto known_error
";

/// Addresses of the owner's network that none of his devices can have.
const NOBODY_OF_LAN: &str = "    oifname $lan ip daddr != $devices4 goto refuse
    oifname $lan ip6 daddr != $devices6 goto refuse
";

/// What is in the table whatever the file says.
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
const RULES: &str = "\
  chain refuse {
    limit rate 10/minute burst 5 packets log prefix \"octet: no line lets this: \"
    iifname @denied drop
    drop
  }
  chain too_many {
    iifname @too_many drop
    oifname @too_many drop
    drop
  }
  chain invalid {
    counter name invalid drop
  }
  chain error {
    icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
    goto refuse
  }
  chain error_in {
    $error_of_links
    ct direction reply iifname . ct reply ip saddr @boards4 goto known_error
    ct direction original iifname . ct original ip saddr @boards4 goto known_error
    ct direction reply iifname . ct reply ip6 saddr @boards6 goto known_error
    ct direction original iifname . ct original ip6 saddr @boards6 goto known_error
    $error_of_lan
    iifname $uplink ct direction reply ct reply ip saddr != { $inside, $ends } ct reply ip saddr != @own4 goto known_error
    iifname $uplink ct direction original ct original ip saddr != { $inside, $ends } ct original ip saddr != @own4 goto known_error
    iifname $uplink ct direction reply ct reply ip6 saddr != { $6inside, $nodes, fe80::/10 } ct reply ip6 saddr != @own6 goto known_error
    iifname $uplink ct direction original ct original ip6 saddr != { $6inside, $nodes, fe80::/10 } ct original ip6 saddr != @own6 goto known_error
    $error_by_path
    goto stray_error
  }
  chain known_error {
    ip length > $longest goto stray_error
    ip6 length > $longest6 goto stray_error
    update @errors { iifname limit rate over $errors/second burst $errors packets } goto too_many
    goto error
  }
  chain stray_error {
    iifname @icmp_error drop
    drop
  }
  chain new {
    iifname { $boards } update @new_flows { iifname limit rate over $new/second burst $new packets } goto too_many
    $new_of_places
    iifname { $all } oifname { $others } jump next_hop
  }
  chain next_hop {
    iifname . rt ip nexthop @near4 update @near4 { iifname . rt ip nexthop } return
    iifname . rt ip6 nexthop @near6 update @near6 { iifname . rt ip6 nexthop } return
    update @next_hops { iifname limit rate over $next_hops/second burst $next_hops packets } goto too_many
    update @near4 { iifname . rt ip nexthop }
    update @near6 { iifname . rt ip6 nexthop }
  }
  chain answer {
    oifname . rt ip nexthop @near4 update @near4 { oifname . rt ip nexthop } return
    oifname . rt ip6 nexthop @near6 update @near6 { oifname . rt ip6 nexthop } return
    update @next_hops { oifname limit rate over $next_hops/second burst $next_hops packets } goto too_many
    update @near4 { oifname . rt ip nexthop }
    update @near6 { oifname . rt ip6 nexthop }
  }
  chain published {
    $published
  }
  chain source {
    oifname $uplink ip saddr $inside masquerade
    $as_one
  }
  chain nobody {
    oifname $uplink ip daddr 255.255.255.255 udp sport 68 udp dport 67 ip saddr set 0.0.0.0
  }
  chain forward {
    $handed_on
    ct state vmap { established : accept, related : goto error_in, invalid : goto invalid, untracked : drop }
    oifname $uplink ip daddr $inside goto refuse
    oifname $uplink ip6 daddr $6inside goto refuse
    oifname { $boards } meta nfproto ipv4 oifname . ip daddr != @boards4 goto refuse
    oifname { $boards } meta nfproto ipv6 oifname . ip6 daddr != @boards6 goto refuse
    $nobody_of_lan
    iifname . oifname . meta l4proto . th dport vmap @forward_port
    iifname . oifname . meta l4proto . th dport vmap @forward_range
    iifname . oifname . meta l4proto vmap @forward_number
    icmp type echo-request iifname . oifname vmap @forward_ping
    icmpv6 type echo-request iifname . oifname vmap @forward_ping
    $path_forward
    iifname $uplink ct status dnat counter name published accept
    goto refuse
  }
  chain input {
    iifname lo accept
    $by_forward
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 counter name neighbours accept
    icmpv6 type mld-listener-query ip6 hoplimit 1 ip6 saddr fe80::/10 counter name neighbours accept
    $advertised
    iifname { $ports } udp dport { 53, 67, 123, 547 } update @questions { iifname limit rate over $questions/second burst $questions packets } goto too_many
    ct state vmap { established : accept, related : goto error_in, invalid : goto invalid, untracked : drop }
    iifname { $ports } ip daddr != { $inside, 224.0.0.0/3 } add @own4 { ip daddr }
    iifname { $ports } ip6 daddr != { $6inside, $nodes, fe80::/10, ff00::/8 } add @own6 { ip6 daddr }
    iifname . meta l4proto . th dport vmap @input_port
    iifname . meta l4proto . th dport vmap @input_range
    iifname . meta l4proto vmap @input_number
    icmp type echo-request iifname vmap @input_ping
    icmpv6 type echo-request iifname vmap @input_ping
    $links_in
    $leased
    goto refuse
  }
  chain output {
    $no_path
    oifname lo goto on_board
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, nd-router-advert, mld-listener-report, mld-listener-done, mld2-listener-report } accept
    $to_forward
    oifname { $others } ct direction reply jump answer
    ct state vmap { established : accept, related : goto error, invalid : goto invalid, untracked : drop }
    udp sport 67 udp dport 68 accept
    udp sport 547 udp dport 546 accept
    oifname . meta l4proto . th dport vmap @output_port
    oifname . meta l4proto . th dport vmap @output_range
    oifname . meta l4proto vmap @output_number
    icmp type echo-request oifname vmap @output_ping
    icmpv6 type echo-request oifname vmap @output_ping
    $links_out
    goto refuse_own
  }
  chain refuse_own {
    counter name denied_own drop
  }
";
