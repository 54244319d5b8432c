//! How settings get from the unit that has them to those that read them.
//!
//! A unit reads a section when it starts ([`SECTION`]). Before another comes into force each unit that
//! reads it is asked ([`CHECK`]), reads what is to come, and accepts it or says why not; when all have
//! accepted each is told ([`APPLY`]), and reads what is in force. A unit is told again whenever it may
//! have missed something, so it compares what it reads with what it has.

/// The verb of `config` that answers with a section: argument `section`, and the flag `next` for what
/// is to come instead of what is in force.
pub const SECTION: &str = "section";

/// The verb of a unit that asks whether it accepts what is to come. An error is a refusal.
pub const CHECK: &str = "config-check";

/// The verb of a unit that has it read what is in force. An error says that it cannot live with it.
pub const APPLY: &str = "config-apply";

/// What `config` may ask of the units that read settings.
pub const OF_READERS: [&str; 2] = [CHECK, APPLY];
