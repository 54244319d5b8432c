//! The protocol by which settings reach the units that read them.
//!
//! A unit reads its sections when it starts ([`SECTIONS`]). Before new settings come into force each
//! unit that reads them is called ([`CHECK`]), reads the proposed ones, and accepts or rejects
//! them; when all have accepted, each is called again ([`APPLY`]), and reads the settings in force.
//! A unit is called again whenever it may have missed a change, so it compares what it reads with
//! what it has.

/// The verb of `config` that returns all sections that the unit file of the caller names, of one
/// version of the settings: an object of a value for each, `null` for a section that the settings
/// lack. The flag `next` asks for the proposed settings instead of those in force.
pub const SECTIONS: &str = "sections";

/// The verb of a unit that validates the proposed settings. An error rejects them.
pub const CHECK: &str = "config-check";

/// The verb of a unit that applies the settings in force. An error says that it cannot.
pub const APPLY: &str = "config-apply";

/// The verbs that `config` may call of the units that read settings.
pub const READER_VERBS: [&str; 2] = [CHECK, APPLY];
