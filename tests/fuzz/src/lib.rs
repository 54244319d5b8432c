//! What must hold for every input of the parsers that take bytes from others. The programs in
//! `libfuzzer/` look for an input that breaks it; `cargo test` replays those in `corpus/`.

mod certificate;
mod command;
mod dhcp;
mod frames;
mod notify;
mod plugged;
mod segments;
mod settings;
mod unit;
mod update;

pub use certificate::certificate;
pub use command::command;
pub use dhcp::dhcp;
pub use frames::frames;
pub use notify::notify;
pub use plugged::plugged;
pub use segments::segments;
pub use settings::settings;
pub use unit::unit;
pub use update::update;

/// Takes any bytes; panics if something does not hold.
pub type Target = fn(&[u8]);

/// Every target, by the name of its program and of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 10] = [
    ("certificate", certificate),
    ("command", command),
    ("dhcp", dhcp),
    ("frames", frames),
    ("notify", notify),
    ("plugged", plugged),
    ("segments", segments),
    ("settings", settings),
    ("unit", unit),
    ("update", update),
];
