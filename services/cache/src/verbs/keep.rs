//! The verbs for `[[keep]]`.

use iroh_blobs::Hash;
use octet_node::control::{Failure, FailureCode};
use serde_json::{Value, json};

use crate::http::CacheState;
use octet_appliance::KeepRedundancy;

use crate::keep::{KeepCondition, KeepRow, KeptObject, ObjectKeeper};

/// Refuses the removal of an object that is kept, or is a part of one.
pub(super) fn check_removal(state: &CacheState, hash: &Hash) -> Result<(), Failure> {
    let Some(message) = state.keeper.kept_as(hash) else { return Ok(()) };
    let help = "remove its `[[keep]]` from the settings of all boards first";
    Err(Failure::new(FailureCode::Failed, message, help))
}

/// The objects of `[[keep]]`, in the order of the settings.
pub(super) fn status(keeper: &ObjectKeeper, is_at_risk: bool) -> Value {
    let is_shown = |row: &KeepRow| !is_at_risk || row.condition != KeepCondition::Kept;
    keeper.rows().into_iter().filter(is_shown).map(|row| show(&row)).collect()
}

fn show(row: &KeepRow) -> Value {
    let name = match &row.keep.what {
        KeptObject::Hash(_) => None,
        KeptObject::Name(name) => Some(name.to_string()),
    };
    let (copies, data, parity) = match row.keep.redundancy {
        KeepRedundancy::Copies(copies) => (Some(copies), None, None),
        KeepRedundancy::Shards { data, parity } => (None, Some(data), Some(parity)),
    };
    let mut shown = json!({
        "state": row.condition.name(), "hash": row.hash.map(|hash| hash.to_hex().to_string()), "name": name, "folder": row.keep.is_folder,
        "copies": copies, "data": data, "parity": parity, "boards": row.copies.kept,
        "loose": row.copies.loose, "lacking": row.copies.lacking, "no_room": row.copies.no_room,
        "shards": null, "whole": null,
    });
    if let Some(shards) = &row.shards {
        let mut boards = shards.boards.concat();
        boards.sort_unstable();
        boards.dedup();
        shown["boards"] = json!(boards);
        shown["lacking"] = json!(shards.lacking);
        shown["no_room"] = json!(shards.no_room);
        shown["shards"] = json!(shards.boards);
        shown["whole"] = json!(shards.whole);
    }
    shown
}
