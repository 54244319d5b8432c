//! Parameters from the boot loader: words `octet.KEY=VALUE` of the kernel's command line.

use octet_appliance::BoardId;
use octet_esp::boot_counter::BootCounter;

/// The value of `octet.KEY`, if present.
pub fn value(key: &str) -> Result<Option<String>, String> {
    let line = std::fs::read_to_string("/proc/cmdline")
        .map_err(|error| format!("/proc/cmdline: {error}"))?;
    Ok(find(&line, key).map(str::to_owned))
}

/// How the boot loader counts the tries of a slot.
///
/// # Errors
/// `octet.counter` has a value that is none.
pub fn boot_counter() -> Result<BootCounter, String> {
    let value = value(BootCounter::KEY)?;
    BootCounter::from_option(value.as_deref()).map_err(|error| error.to_string())
}

/// Whether the data is kept in memory only: a machine without a disk.
pub fn data_in_memory() -> bool {
    matches!(value("data"), Ok(Some(text)) if text == "memory")
}

/// Whether this is the router of a box.
pub fn is_router() -> bool {
    matches!(value("board"), Ok(Some(text)) if text.parse() == Ok(BoardId::ROUTER))
}

fn find<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix("octet.")?.strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_words() {
        let line = "quiet octet.boards=9 octet.board=3 x octet.slot=";
        assert_eq!(find(line, "board"), Some("3"));
        assert_eq!(find(line, "slot"), Some(""));
        assert_eq!(find(line, "data"), None);
    }
}
