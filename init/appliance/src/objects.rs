//! `[cache]`: what objects may take of the flash.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// `[cache]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectSettings {
    /// What all objects of a board may take; without it, three quarters of its file system.
    pub quota: Option<Bytes>,
}
