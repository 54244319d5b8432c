//! Updates: an image's slot, signed, and as one file that boxes take.

mod bundle;
mod error;
mod image;
mod key;
mod pack;
mod patch;
mod sign;

pub use bundle::bundle;
pub use key::make_key;
pub use sign::{ReleaseInfo, sign};

/// What is signed, beside the image that it is of.
pub const SIGNED_MANIFEST: &str = "update.json";

pub const SIGNATURE: &str = "update.json.minisig";

/// The patches that are listed in it, one behind the other.
pub const PATCHES: &str = "update.patches";

/// The update as one file.
pub const BUNDLE: &str = "octet.update";

/// All that lies beside an image only once somebody has signed it.
pub const SIGNING_OUTPUTS: [&str; 4] = [SIGNED_MANIFEST, SIGNATURE, PATCHES, BUNDLE];
