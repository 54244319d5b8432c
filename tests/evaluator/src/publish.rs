//! `[[publish]]`.

use std::mem::discriminant;

use toml::Table;

use crate::by::By;
use crate::section::Section;
use crate::traffic::Traffic;
use crate::units::{self, Port};
use crate::zone::Zone;

/// A port of the router's uplink addresses that is forwarded to a board.
#[derive(Debug, Clone)]
pub(crate) struct Publish {
    pub by: By,
    /// The protocol and port outside.
    pub outside: Traffic,
    pub board: u8,
    pub inside: Traffic,
}

/// All sections, in the order of the file.
pub(crate) fn read(file: &Table, ports: &[Port]) -> Result<Vec<Publish>, String> {
    let sections = Section::all(file, "publish", &["port", "to", "service", "at"])?;
    sections.iter().zip(1..).map(|(section, number)| one(section, number, ports)).collect()
}

fn one(section: &Section<'_>, number: usize, ports: &[Port]) -> Result<Publish, String> {
    let port = |key: &str, text: &str| match text.parse() {
        Ok(traffic @ (Traffic::Tcp(_) | Traffic::Udp(_))) => Ok(traffic),
        _ => Err(section.wrong(format_args!("`{key}` is no port"))),
    };
    let outside = port("port", section.must("port", section.text("port")?)?)?;
    let to = section.must("to", section.text("to")?)?;
    let Ok(Zone::Board(board)) = to.parse() else {
        return Err(section.wrong(format_args!("`{to}` is no board")));
    };
    let inside = match (section.text("service")?, section.text("at")?) {
        (Some(service), None) => units::service(ports, service)?,
        (None, Some(at)) => port("at", at)?,
        _ => return Err(section.wrong("one of `service` and `at` says where it goes")),
    };
    if discriminant(&outside) != discriminant(&inside) {
        return Err(section.wrong(format_args!("{outside} cannot become {inside}")));
    }
    Ok(Publish { by: By::Publish(number), outside, board, inside })
}
