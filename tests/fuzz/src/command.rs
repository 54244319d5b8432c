//! Signed commands.

use octet_node::command::Command;

/// Bytes are refused, or are the canonical encoding of a command.
pub fn command(bytes: &[u8]) {
    if let Ok(command) = Command::from_bytes(bytes) {
        assert_eq!(command.to_bytes(), bytes);
        let text = String::from(command.clone());
        assert_eq!(Command::try_from(text), Ok(command));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(command) = Command::try_from(text.to_owned())
    {
        assert_eq!(String::from(command), text);
    }
}
