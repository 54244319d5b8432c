//! Kernel modules: loaded from lists that the builder has put in order.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::system::finit_module;

/// What is done with a module's file once it was read: nobody reads it again.
#[derive(Debug, Clone, Copy)]
pub enum Afterwards {
    /// It is removed: the initramfs is memory.
    Remove,
    /// Its pages need not stay in memory.
    Forget,
}

/// Loads the modules that the file at `list` names: on each line a path and, after a space, the
/// module's parameters. Returns what went wrong, in words; one module's failure does not keep the
/// others from being loaded.
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

/// Loads one module; that it is there already is no mistake.
fn load(path: &Path, parameters: &str, afterwards: Afterwards) -> io::Result<()> {
    let file = File::open(path)?;
    let loaded = finit_module(&file, CString::new(parameters)?.as_c_str(), 0);
    // Memory is all that is lost if this fails.
    let _ = match afterwards {
        Afterwards::Remove => std::fs::remove_file(path),
        Afterwards::Forget => fadvise(&file, 0, None, Advice::DontNeed).map_err(Into::into),
    };
    match loaded {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
