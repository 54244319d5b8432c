//! The verbs for `[[keep]]`.

use iroh_blobs::Hash;
use octet_node::control::{Failure, FailureCode};
use serde_json::{Value, json};

use crate::http::CacheState;
use crate::keep::{KeepCondition, KeepRow, KeptObject, ObjectKeeper};

/// Refuses the removal of an object that is kept.
pub(super) fn check_removal(state: &CacheState, hash: &Hash) -> Result<(), Failure> {
    if !state.keeper.is_kept(hash) {
        return Ok(());
    }
    let help = "remove its `[[keep]]` from the settings of all boards first";
    Err(Failure::new(FailureCode::Failed, "a `[[keep]]` keeps this object", help))
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
    json!({
        "state": row.condition.name(), "hash": row.hash.map(|hash| hash.to_hex().to_string()), "name": name,
        "copies": row.keep.copies, "boards": row.copies.kept, "loose": row.copies.loose,
        "lacking": row.copies.lacking, "no_room": row.copies.no_room,
    })
}
