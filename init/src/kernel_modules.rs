//! Loads kernel modules from lists that the builder has ordered.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::system::finit_module;

/// What is done with a module's file once it was loaded: nobody reads it again.
#[derive(Debug, Clone, Copy)]
pub enum Afterwards {
    /// It is removed: the initramfs is memory.
    Remove,
    /// Its pages are dropped from the page cache.
    Forget,
}

/// Loads the modules in the file at `list`: each line has a path and, after a space, the module's
/// parameters. Returns the errors in words; a module that fails does not prevent the others from
/// being loaded.
pub fn load_list(list: &Path, afterwards: Afterwards) -> Vec<String> {
    let text = match std::fs::read_to_string(list) {
        Ok(text) => text,
        Err(error) => return vec![format!("{}: {error}", list.display())],
    };
    text.lines()
        .filter_map(|line| {
            let (path, parameters) = line.split_once(' ').unwrap_or((line, ""));
            let loaded = load(path.as_ref(), parameters, afterwards);
            loaded.err().map(|error| format!("{path}: {error}"))
        })
        .collect()
}

/// Loads one module; a module that is loaded already is no error.
fn load(path: &Path, parameters: &str, afterwards: Afterwards) -> io::Result<()> {
    let file = File::open(path)?;
    let loaded = finit_module(&file, CString::new(parameters)?.as_c_str(), 0);
    // A failure here only wastes memory.
    let _ = match afterwards {
        Afterwards::Remove => std::fs::remove_file(path),
        Afterwards::Forget => fadvise(&file, 0, None, Advice::DontNeed).map_err(Into::into),
    };
    match loaded {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
