//! `[cache]`: the space for objects on the flash.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// `[cache]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectSettings {
    /// Maximum size of all objects of a board; by default three quarters of its file system.
    pub quota: Option<Bytes>,
    /// Whether `/d/HASH/` lists what is in a folder.
    pub folder_index: bool,
}
