//! Log messages of services.

use std::fmt::Arguments;
use std::io::{Write, stderr};

use octet_control::one_line;

/// Logs a line, with arguments like those of `println!`. Line breaks in arguments are escaped.
#[macro_export]
macro_rules! say {
    ($($text:tt)+) => { $crate::say::say(::std::format_args!($($text)+)) };
}

/// Logs `text` as one line, in one write: other processes of the unit may log at the same time.
pub fn say(text: Arguments<'_>) {
    let line = format!("{}\n", one_line(&text.to_string()));
    // If logging fails, the failure cannot be reported either.
    let _ = stderr().write_all(line.as_bytes());
}
