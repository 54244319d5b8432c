//! Records for a while which packets a board receives, in a table of its own that accepts
//! everything. It shows that a packet has arrived, even if another table drops it.

use std::time::Duration;

pub const TABLE: &str = "octet_watch";

/// How long the recording lasts and its result can be read.
pub const LASTS: Duration = Duration::from_secs(300);

/// Maximum number of recorded address and port pairs of each IP version.
const ROOM: u32 = 65_535;

/// Sets of received flows; each element has the source address, the protocol and the port.
pub const FLOWS: [&str; 2] = ["flows4", "flows6"];

/// Sets of the sources of echo requests.
pub const PINGS: [&str; 2] = ["pings4", "pings6"];

/// The transaction that removes the table.
pub fn end() -> String {
    format!("table inet {TABLE} {{ }}\ndelete table inet {TABLE}\n")
}

/// The transaction that creates the table with empty sets. Packets of flows that the board itself
/// began are not recorded.
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
