//! The images of these guests: what ships, told whom to let in and whose updates to take, with one
//! unit besides that measures from inside.

use octet_appliance::{SETTINGS, UNITS, UnitSource};
use serde_json::{Value, json};

use super::wire;
use crate::altered::{PROGRAMS, change, put};
use crate::guest::of_guests;
use octet_image::build::{self, CustomInitrd, Options};

pub struct KnownHost {
    /// Its operator, who may do everything.
    pub operator: String,
    /// The key of its updates.
    pub signer: String,
}

/// A box with one operator, and with `motd` in it: so one of another motd is a small update.
pub fn of_box(options: &Options, known: &KnownHost, motd: &str) -> miette::Result<CustomInitrd> {
    let program = of_guests(options.target, "yardstick")?;
    let unit = include_str!("yardstick.toml").to_owned();
    let unit = UnitSource::parse("yardstick.toml".into(), unit).map_err(|error| *error)?.unit;
    build::initrd_with(options, |tree| {
        put(tree, &format!("{PROGRAMS}/yardstick"), 0o755, program)?;
        put(tree, "/etc/motd", 0o644, motd.into())?;
        change(tree, UNITS, |units| {
            if let Some(units) = units.as_array_mut() {
                units.push(json!(unit));
            }
        })?;
        change(tree, SETTINGS, |settings| {
            let operator = json!({ "key": known.operator, "name": "bench", "may": ["own"] });
            settings["operator"] = json!({ "keys": [operator] });
            settings["trust"] = json!({ "update_keys": [known.signer] });
            of_one_board(settings);
        })
    })
}

/// The same network, and in the gate's place a program that greets and says what it hears.
pub fn of_echo(options: &Options) -> miette::Result<CustomInitrd> {
    let program = of_guests(options.target, "listener")?;
    build::initrd_with(options, |tree| {
        put(tree, &format!("{PROGRAMS}/listener"), 0o755, program)?;
        change(tree, UNITS, |units| {
            for unit in units.as_array_mut().into_iter().flatten() {
                if unit["name"] == wire::GATE {
                    unit["exec"] = json!(format!("{PROGRAMS}/listener"));
                    unit["readiness"] = json!("socket");
                    unit["sockets"] = json!({ wire::GATE: unit["sockets"][wire::GATE] });
                }
            }
        })?;
        change(tree, SETTINGS, of_one_board)
    })
}

/// The box is one board, which is reached by its own address.
fn of_one_board(settings: &mut Value) {
    settings["network"] = network();
    for section in ["cluster", "board", "lan", "policy", "publish"] {
        settings.as_object_mut().map(|all| all.remove(section));
    }
}

/// The address is fixed: nobody has to wait for a server to give one.
fn network() -> Value {
    json!({ "address": [format!("{}/24", wire::BOX)], "gateway": wire::HOST })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_such_as_the_language_allows() {
        let text = include_str!("yardstick.toml").to_owned();
        let unit = UnitSource::parse("yardstick.toml".into(), text).unwrap().unit;
        assert_eq!(unit.name.as_str(), "yardstick");
    }
}
