//! Requests, and what update answers.

use octet_appliance::Trust;
use octet_bundle::{Manifest, Standing};
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{Failure, Request, Verb};
use octet_node::settings::next_section;
use octet_node::{Peer, section};
use serde_json::{Value, json};

use super::sent::Sent;
use super::verbs::verbs;
use super::work::Work;
use crate::present::{Present, Slot};
use crate::running::Running;

/// The answer to `request` of `peer`.
pub fn answer(work: &Work, peer: &mut Peer, request: Request) -> Result<Value, Failure> {
    let verbs = verbs();
    let verb = Verb::find(&verbs, &request.verb)?;
    let args = verb.check(request.args)?;
    match verb.name.as_str() {
        "status" => work.status().map(|(running, present, floor)| match present {
            Some(present) => status(&running, &present, floor),
            None => json!({ "running": running.slot, "installing": work.doing() }),
        }),
        "install" => {
            let size = args.file("file").and_then(|file| file.size);
            let (manifest, counts) = work.install(&mut Sent { peer, id: request.id, size })?;
            let mut answer = json!({ "slot": manifest.slot, "sequence": manifest.sequence });
            if let (Value::Object(answer), Value::Object(counts)) = (&mut answer, json!(counts)) {
                answer.extend(counts);
            }
            answer["next"] = json!("`reboot` tries it");
            Ok(answer)
        }
        "rollback" => {
            let slot = work.rollback()?;
            Ok(json!({ "slot": slot, "next": "`reboot` starts it" }))
        }
        // Each update is held against what is in force then: all there is to do is to read it.
        CHECK => Ok(next_section::<Trust>("trust").map(|_| Value::Null)?),
        APPLY => Ok(section::<Trust>("trust").map(|_| Value::Null)?),
        _ => Ok(json!(verbs)), // describe: the list has no other
    }
}

fn status(running: &Running, present: &Present, floor: u64) -> Value {
    let slots: Vec<Value> = present.slots.iter().map(|slot| show(slot, running)).collect();
    let manifest =
        |slot: &Slot| slot.manifest.as_ref().map(|manifest: &Manifest| manifest.sequence);
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

fn show(slot: &Slot, running: &Running) -> Value {
    let standing = match slot.standing {
        Standing::Good => "good".to_owned(),
        Standing::Trying { left: 0, .. } => "no tries left".to_owned(),
        Standing::Trying { left, .. } => format!("{left} tries left"),
    };
    json!({
        "slot": slot.name,
        "sequence": slot.sequence,
        "standing": standing,
        "running": running.slot.as_deref() == Some(slot.name.as_str()),
    })
}
