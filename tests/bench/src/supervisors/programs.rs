//! Our programs inside these guests.

use crate::guest::of_guests;
use octet_image::Target;

/// Their bytes: static, the same in every guest.
pub struct Programs {
    /// Mounts what a peer does not mount, and starts it.
    pub stage: Vec<u8>,
    pub idle: Vec<u8>,
    pub referee: Vec<u8>,
}

impl Programs {
    pub fn compile(target: Target) -> miette::Result<Self> {
        let bytes = |name| of_guests(target, name);
        Ok(Self { stage: bytes("stage")?, idle: bytes("idle")?, referee: bytes("referee")? })
    }
}
