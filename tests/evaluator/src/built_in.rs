//! The table "Built-in rules" of docs/segments.md. `neighbours` is not in it, because it is no
//! flow.

use crate::by::By;
use crate::line::{Line, What, Word};
use crate::zone::Zone;

/// All built-in rules. `gate` are the ports of the unit of that name; `manager` is the board with
/// this role in a box whose router does not run Octet; `web` is the port at which that board's unit
/// `router` calls that router; `vpn` is whether there is a section `[vpn]`.
pub(crate) fn lines(gate: &[What], manager: Option<u8>, web: Option<u16>, vpn: bool) -> Vec<Line> {
    let boards = || Word::Boards;
    let lan = || Word::One(Zone::Lan);
    let router = || Word::One(Zone::Router);
    let uplink = || Word::One(Zone::Uplink);
    let tcp = |port| What::Tcp(port, port);
    let udp = |port| What::Udp(port, port);
    let line = |name, from, to, what: &[What]| Line {
        by: By::BuiltIn(name),
        from,
        to,
        what: what.to_vec(),
        rate: None,
    };
    let inside = || vec![boards(), lan()];
    let mut all = vec![
        line("dhcp", inside(), vec![router()], &[udp(67), udp(547)]),
        line("dns", inside(), vec![router()], &[udp(53), tcp(53)]),
        line("time", inside(), vec![router()], &[udp(123)]),
        Line { rate: Some(20), ..line("ping", inside(), vec![router()], &[What::Ping]) },
        line("reach", vec![router()], vec![boards(), lan(), uplink()], &[What::Ping]),
        line("ask", vec![router()], vec![uplink()], &[udp(53), tcp(53), udp(123), udp(67)]),
    ];
    if vpn {
        let path = vec![Word::One(Zone::Path)];
        all.push(line("ask", vec![router()], path, &[udp(53), tcp(53)]));
    }
    all.extend(match manager {
        None => [
            line("enrolment", vec![boards()], vec![router()], &[tcp(4041)]),
            line("gate", vec![lan()], vec![router()], gate),
            line("relay", vec![router()], vec![boards()], gate),
        ],
        Some(number) => {
            let manager = || Word::One(Zone::Board(number));
            [
                line("manager-enrolment", vec![boards()], vec![manager()], &[tcp(4041)]),
                line("manager-gate", vec![lan()], vec![manager()], gate),
                line("manager-relay", vec![manager()], vec![boards()], gate),
            ]
        }
    });
    if let (Some(number), Some(port)) = (manager, web) {
        let manager = vec![Word::One(Zone::Board(number))];
        all.push(line("manager-router", manager, vec![router()], &[tcp(port)]));
    }
    all
}
