//! The ports in unit files.

use crate::traffic::Traffic;

/// A port of a unit.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    unit: String,
    name: String,
    traffic: Traffic,
}

/// Reads `ports` of each unit file.
pub(crate) fn read(unit_tomls: &[&str]) -> Result<Vec<Port>, String> {
    let mut all = Vec::new();
    for text in unit_tomls {
        let file: toml::Table = text.parse().map_err(|error| format!("a unit file: {error}"))?;
        let name = file.get("name").and_then(|name| name.as_str());
        let unit = name.ok_or("a unit file has no `name`")?;
        let Some(ports) = file.get("ports") else { continue };
        let ports = ports.as_table().ok_or_else(|| format!("{unit}: `ports` is no table"))?;
        for (name, value) in ports {
            let traffic = value.as_str().unwrap_or_default().parse();
            let traffic = traffic.map_err(|error| format!("{unit}.{name}: {error}"))?;
            all.push(Port { unit: unit.to_owned(), name: name.clone(), traffic });
        }
    }
    Ok(all)
}

/// Whether one of the unit files belongs to this unit.
pub(crate) fn has(unit_tomls: &[&str], unit: &str) -> bool {
    let tables = unit_tomls.iter().filter_map(|text| text.parse::<toml::Table>().ok());
    tables.into_iter().any(|file| file.get("name").and_then(|name| name.as_str()) == Some(unit))
}

/// Resolves `NAME` or `UNIT.NAME`.
pub(crate) fn service(ports: &[Port], service: &str) -> Result<Traffic, String> {
    let meant =
        |port: &&Port| port.name == service || format!("{}.{}", port.unit, port.name) == service;
    match ports.iter().filter(meant).collect::<Vec<_>>()[..] {
        [] => Err(format!("no unit has a port `{service}`")),
        [port] => Ok(port.traffic),
        _ => Err(format!("more than one unit has a port `{service}`")),
    }
}

/// All ports of one unit.
pub(crate) fn all_of(ports: &[Port], unit: &str) -> Vec<Traffic> {
    ports.iter().filter(|port| port.unit == unit).map(|port| port.traffic).collect()
}
