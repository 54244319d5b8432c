//! Draws the box as text: each port, the node behind it, and its traffic.

use octet_appliance::Zone;

use super::plan::RouterPlan;
use crate::backend::Drops;
use crate::observed::Observed;
use crate::port_bindings::PortBindings;

/// One line for the router, and one for each of its ports: `●` if the port has a carrier, `○` if
/// not, and `×` if the router has no such device.
pub fn draw(
    plan: &RouterPlan,
    observed: &Observed,
    plugged: &PortBindings,
    drops: &Drops,
) -> Vec<String> {
    let mut lines = vec![format!("router  {}  {}", plan.network, plan.network6)];
    let ports: Vec<_> = std::iter::once((Zone::Uplink, &plan.uplink, None))
        .chain(plan.segments().map(|it| (it.zone, &it.device, Some(it))))
        .collect();
    for (index, (zone, device, segment)) in ports.iter().enumerate() {
        let branch = if index + 1 == ports.len() { '└' } else { '├' };
        let link = observed.links.iter().find(|link| link.name == device.as_str());
        let sign = match link {
            Some(link) if link.carrier => '●',
            Some(_) => '○',
            None => '×',
        };
        let who = match segment {
            Some(segment) => match segment.board {
                Some((ip4, _)) => {
                    let mac = plugged.mac(segment).map(|mac| mac.to_string());
                    format!("{ip4} {}", mac.unwrap_or("nobody has asked yet".into()))
                }
                None => format!("{}/24", segment.router.0),
            },
            None => {
                let of = |link: u32| observed.addresses.iter().find(move |it| it.link == link);
                let address = link.and_then(|link| of(link.index)).map(|it| it.address);
                address.map_or("no address".into(), |address| address.to_string())
            }
        };
        let traffic = link.map(|link| link.traffic).unwrap_or_default();
        let mut line = format!(
            "{branch}─{sign} {device:8} {:9} {who:31} in {:9} out {:9}",
            zone.to_string(),
            traffic.received,
            traffic.sent
        );
        if let Some(drops) = drops.get(device.as_str()) {
            let dropped: Vec<_> =
                drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            line += &format!(" dropped: {}", dropped.join(", "));
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}
