//! The verbs of this unit.

use std::path::Path;

use octet_appliance::{LICENSES, Trust};
use octet_bundle::{Manifest, SlotState};
use octet_esp::contents::{EspContents, PresentSlot};
use octet_node::control::file::FileArg;
use octet_node::control::{ColumnKind, Failure, Permission, Verb};
use octet_node::section;
use octet_node::serve::threads::{Call, Verbs};
use octet_node::serve::verbs::{file, nothing, optional_text};
use octet_node::settings::next_section;
use serde_json::{Value, json};

use super::state::SharedState;
use super::upload::SentFile;
use crate::licenses;
use crate::running::RunningSlot;

pub fn verbs() -> Verbs<SharedState> {
    use Permission::{Read, Update};

    Verbs::default()
        .with(
            Verb::new(
                "status",
                Read,
                "Shows the slots, the running one, and the one that boots next",
            )
            .columns(ColumnKind::Bytes, &["free"]),
            nothing(),
            |work: &SharedState, _, ()| {
                work.status().map(|(running, present, floor)| match present {
                    Some(present) => status(&running, &present, floor),
                    None => json!({ "running": running.slot, "installing": work.installing() }),
                })
            },
        )
        .with(
            Verb::new(
                "install",
                Update,
                "Installs a signed update into the other slot; the next boot tries it",
            )
            .columns(ColumnKind::Bytes, &["size", "received", "copied", "patched", "shared"]),
            file("file", "The bundle that `cargo image bundle` has made"),
            install,
        )
        .with(
            Verb::new(
                "rollback",
                Update,
                "Makes the next boot use the previous good slot",
            ),
            nothing(),
            |work, _, ()| {
                let slot = work.rollback()?;
                Ok(json!({ "slot": slot, "next": "`reboot` starts it" }))
            },
        )
        .with(
            Verb::new(
                "licenses",
                Read,
                "Lists the software components; with a name, the licence text and the source of one",
            )
            .columns(ColumnKind::Lines, &["text"]),
            optional_text("name", "A component, for example busybox"),
            |_, _, name| licenses::show(Path::new(LICENSES), name.as_deref()),
        )
        // Each update is verified with the active settings, so applying them only means reading
        // them.
        .with_settings(
            |_| Ok(next_section::<Trust>("trust").map(drop)?),
            |_| Ok(section::<Trust>("trust").map(drop)?),
        )
}

fn install(work: &SharedState, call: &mut Call<'_>, file: FileArg) -> Result<Value, Failure> {
    let mut sent = SentFile { peer: call.peer, id: call.id, size: file.size };
    let (manifest, counts) = work.install(&mut sent)?;
    let mut answer = json!({ "slot": manifest.slot, "sequence": manifest.sequence });
    if let (Value::Object(answer), Value::Object(counts)) = (&mut answer, json!(counts)) {
        answer.extend(counts);
    }
    answer["next"] = json!("`reboot` tries it");
    Ok(answer)
}

fn status(running: &RunningSlot, present: &EspContents, floor: u64) -> Value {
    let slots: Vec<Value> = present.slots.iter().map(|slot| show(slot, running)).collect();
    let manifest =
        |slot: &PresentSlot| slot.manifest.as_ref().map(|manifest: &Manifest| manifest.sequence);
    let now = running.slot.as_deref().and_then(|name| present.slot(name));
    json!({
        "running": running.slot,
        "sequence": now.and_then(manifest),
        "floor": floor,
        "next": present.next().map(|slot| &slot.name),
        "free": present.free,
        "slots": slots,
    })
}

fn show(slot: &PresentSlot, running: &RunningSlot) -> Value {
    let standing = match slot.state {
        SlotState::Good => "good".to_owned(),
        SlotState::Trying { left: 0, .. } => "no tries left".to_owned(),
        SlotState::Trying { left, .. } => format!("{left} tries left"),
    };
    json!({
        "slot": slot.name,
        "sequence": slot.sequence,
        "standing": standing,
        "running": running.slot.as_deref() == Some(slot.name.as_str()),
    })
}
