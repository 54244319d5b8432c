//! The table "Built-in lines". `neighbours` is not in it: that is no flow.

use crate::by::By;
use crate::line::{Line, What, Word};
use crate::zone::Zone;

/// All of them; `gate` is what the unit of that name serves, `manager` the board that has this role in a box
/// whose router is none of ours; `web` is the port at which that board's unit `router` asks that router; `vpn` says whether there is a section `[vpn]`.
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
