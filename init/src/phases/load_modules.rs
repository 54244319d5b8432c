//! `load-modules`: loads only the modules that the root file system needs; the unit `modules` loads
//! the rest.

use std::path::Path;

use super::BootFacts;
use crate::kernel_modules::{Afterwards, load_list};

pub fn run(_: &mut BootFacts) -> Result<(), String> {
    let failures = load_list(Path::new("/lib/modules/early"), Afterwards::Remove);
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}
