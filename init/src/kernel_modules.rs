//! Kernel modules: loaded from lists that the builder has put in order.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::system::finit_module;

/// Loads the modules that the file at `list` names, one path a line. Returns what went wrong, in
/// words; one module's failure does not keep the others from being loaded.
pub fn load_list(list: &Path) -> Vec<String> {
    let text = match std::fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) => return vec![format!("{}: {error}", list.display())],
    };
    text.lines()
        .filter_map(|path| load(path.as_ref()).err().map(|error| format!("{path}: {error}")))
        .collect()
}

/// Loads one module; that it is there already is no mistake.
fn load(path: &Path) -> io::Result<()> {
    match finit_module(File::open(path)?, c"", 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
