//! Changes the configuration of a running router.

use std::collections::BTreeSet;

use octet_control::file::LocalFile;
use octet_evaluator::World;
use octet_machine::panel::switchboard::Switchboard;
use octet_machine::{Machine, MachineError};
use serde_json::{Value, json};

use crate::segments::site::{Site, world};

impl Site {
    /// Applies `text` to the router, and confirms it.
    pub fn change(&mut self, text: &str) {
        change(&self.machine, text);
        self.lives_by(world(text));
    }

    /// Expects the behaviour of `world` from now on. On legs without a zone in it the router sends
    /// nothing.
    pub fn lives_by(&mut self, world: World) {
        let quiet = quiet(&self.panel, &world);
        self.panel.quiet(quiet);
        self.world = world;
    }
}

/// Applies `text` to the router on `machine`, pending confirmation.
pub fn apply(machine: &Machine, text: &str) -> Result<Value, MachineError> {
    let mut file = LocalFile::Memory(text.as_bytes().to_vec());
    machine.send_file_with("config", "apply", json!({}), "file", &mut file)
}

/// The legs without a zone in `world`.
pub fn quiet(panel: &Switchboard, world: &World) -> BTreeSet<usize> {
    let zones: Vec<_> = world.zones().iter().map(ToString::to_string).collect();
    let legs = panel.legs().iter().enumerate();
    legs.filter(|(_, leg)| !zones.contains(&leg.zone)).map(|(index, _)| index).collect()
}

/// Applies `text` to the router on `machine`. When this returns, it is in force.
pub fn change(machine: &Machine, text: &str) {
    let answer = apply(machine, text);
    let answer = answer.unwrap_or_else(|error| {
        let logs = machine.logs("netd").unwrap_or_default();
        let status = machine.status().map(|status| format!("{:?}", status.unit("netd")));
        panic!("{error}\n{text}\n{logs:#?}\n{status:?}")
    });
    assert!(answer.get("applied").is_some() && answer.get("not_running").is_none(), "{answer}");
    machine.call_unit("config", "confirm", json!({})).unwrap();
}
