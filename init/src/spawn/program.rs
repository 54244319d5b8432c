//! The last steps: the environment, the seccomp filters, the program.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;

use super::child::ChildState;
use super::failure::SpawnFailure;
use crate::sys;

/// Reads the filters while the whole file system is visible.
pub fn read_filters(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    for path in &start.order.filters {
        let filter =
            std::fs::read(path).map_err(SpawnFailure::context(format_args!("read {path}")))?;
        start.filters.push(filter);
    }
    Ok(())
}

/// Adds the filters. From here on only the system calls that they allow work.
pub fn add_filters(start: &mut ChildState<'_>) -> Result<(), SpawnFailure> {
    for (path, filter) in start.order.filters.iter().zip(&start.filters) {
        sys::add_system_call_filter(filter)
            .map_err(SpawnFailure::context(format_args!("load the filter {path}")))?;
    }
    Ok(())
}

/// Executes the program; returns only if that fails.
pub fn execute(start: &ChildState<'_>) -> SpawnFailure {
    let unit = start.order.unit;
    let args = std::iter::once(start.program).chain(unit.args.iter().map(String::as_str));
    let tried = || -> io::Result<io::Error> {
        let program = CString::new(start.program)?;
        let args = args.map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let environment = environment(start).into_iter().map(CString::new);
        let environment = environment.collect::<Result<Vec<_>, _>>()?;
        Ok(sys::execute(&program, &args, &environment))
    };
    let error = tried().unwrap_or_else(|error| error);
    SpawnFailure::new(format_args!("execute {}", start.program), error)
}

/// The whole environment. PID 1's variables take precedence over those of the unit file.
fn environment(start: &ChildState<'_>) -> Vec<String> {
    let order = start.order;
    let own = order.unit.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let given = order.environment.iter().chain(&start.environment);
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    let all: BTreeMap<&str, &str> = own.chain(given).collect();
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}
