//! Properties that hold for every input of the parsers of untrusted bytes. The programs in
//! `libfuzzer/` search for an input that violates one; `cargo test` replays the inputs in
//! `corpus/`.

mod accounts;
mod announcement;
mod blocks;
mod board;
mod bundle;
mod certificate;
mod change;
mod command;
mod consensus;
mod control;
mod dhcp;
mod dns;
mod enrolment;
mod envelope;
mod frames;
mod introduction;
mod map;
mod memory;
mod name;
mod notify;
mod plugged;
mod ranges;
mod report;
mod segments;
mod settings;
mod setup;
mod sntp;
mod unit;
mod update;

pub use accounts::accounts;
pub use announcement::announcement;
pub use blocks::blocks;
pub use board::board;
pub use bundle::bundle;
pub use certificate::certificate;
pub use change::change;
pub use command::command;
pub use consensus::consensus;
pub use control::control;
pub use dhcp::dhcp;
pub use dns::dns;
pub use enrolment::enrolment;
pub use envelope::envelope;
pub use frames::frames;
pub use introduction::introduction;
pub use map::map;
pub use name::name;
pub use notify::notify;
pub use plugged::plugged;
pub use ranges::ranges;
pub use report::report;
pub use segments::segments;
pub use settings::settings;
pub use setup::setup;
pub use sntp::sntp;
pub use unit::unit;
pub use update::update;

/// Takes any bytes; panics if a property is violated.
pub type Target = fn(&[u8]);

/// Every target, by the name of its program and of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 28] = [
    ("accounts", accounts),
    ("announcement", announcement),
    ("blocks", blocks),
    ("board", board),
    ("bundle", bundle),
    ("certificate", certificate),
    ("change", change),
    ("command", command),
    ("consensus", consensus),
    ("control", control),
    ("dhcp", dhcp),
    ("dns", dns),
    ("enrolment", enrolment),
    ("envelope", envelope),
    ("frames", frames),
    ("introduction", introduction),
    ("map", map),
    ("name", name),
    ("notify", notify),
    ("plugged", plugged),
    ("ranges", ranges),
    ("report", report),
    ("segments", segments),
    ("settings", settings),
    ("setup", setup),
    ("sntp", sntp),
    ("unit", unit),
    ("update", update),
];
