//! `[[neighbour]]`: the rules for a link of the router itself to another box. A section with
//! `board` allows nothing.

use toml::Table;

use crate::by::By;
use crate::line::{Line, What, Word};
use crate::section::Section;
use crate::units::{self, Port};
use crate::zone::Zone;

/// The rules of all neighbours, in the order of the file; empty if no unit of the image has links.
pub(crate) fn read(file: &Table, ports: &[Port]) -> Result<Vec<Line>, String> {
    let sections = Section::all(file, "neighbour", &["name", "descriptor", "at", "board"])?;
    let Ok(links) = units::service(ports, "forward.links") else { return Ok(vec![]) };
    let mut lines = vec![];
    for (section, number) in sections.iter().zip(1..) {
        if section.value("board").is_some() {
            continue;
        }
        let line = |from, to, what| Line {
            by: By::Neighbour(number),
            from: vec![Word::One(from)],
            to: vec![Word::One(to)],
            what: vec![what],
            rate: None,
        };
        lines.push(line(Zone::Uplink, Zone::Router, links.into()));
        if let Some(at) = section.text("at")? {
            let port = at.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            let port = port.ok_or_else(|| section.wrong("`at` has no port"))?;
            lines.push(line(Zone::Router, Zone::Uplink, What::Udp(port, port)));
        }
    }
    Ok(lines)
}
