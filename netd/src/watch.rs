//! What comes in to a board, noted for a while: a table of its own, which lets everything. So it is seen whether a packet has
//! come, whatever becomes of it then.

use std::time::Duration;

pub const TABLE: &str = "octet_watch";

/// How long it stands, and what has come is known.
pub const LASTS: Duration = Duration::from_secs(300);

/// How many addresses and ports are noted of each version of IP.
const ROOM: u32 = 65_535;

/// Sets of what has come, each with what it says of an element beside the address: the flow's protocol and its port.
pub const FLOWS: [&str; 2] = ["flows4", "flows6"];

/// Sets of those who have sent an echo request.
pub const PINGS: [&str; 2] = ["pings4", "pings6"];

/// The transaction that takes it away.
pub fn end() -> String {
    format!("table inet {TABLE} {{ }}\ndelete table inet {TABLE}\n")
}

/// The transaction by which it stands, and nothing has come. Answers are no concern of its: they belong to flows that the
/// board itself began.
pub fn begin() -> String {
    let seconds = LASTS.as_secs();
    let mut sets = String::new();
    let mut rules = String::new();
    let versions = [("ip", "ipv4", "icmp"), ("ip6", "ipv6", "icmpv6")];
    for ((ip, kind, icmp), (flows, pings)) in versions.into_iter().zip(FLOWS.into_iter().zip(PINGS))
    {
        let rest = format!("size {ROOM}; flags dynamic, timeout; timeout {seconds}s;");
        sets +=
            &format!("  set {flows} {{ type {kind}_addr . inet_proto . inet_service; {rest} }}\n");
        sets += &format!("  set {pings} {{ type {kind}_addr; {rest} }}\n");
        let flow = format!("{ip} saddr . meta l4proto . th dport");
        rules += &format!(
            "    meta nfproto {kind} meta l4proto {{ tcp, udp }} add @{flows} {{ {flow} }}\n"
        );
        rules += &format!("    {icmp} type echo-request add @{pings} {{ {ip} saddr }}\n");
    }
    format!(
        "{}table inet {TABLE} {{
{sets}  chain came {{
    type filter hook prerouting priority mangle; policy accept;
    iif lo return
    ct direction reply return
{rules}  }}
}}
",
        end()
    )
}
