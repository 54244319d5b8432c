//! What a service says in the log.

use std::fmt::Arguments;
use std::io::{Write, stderr};

use octet_control::one_line;

/// Says a line in the log, from arguments like those of `println!`. Whatever is put into it, it is one line.
#[macro_export]
macro_rules! say {
    ($($text:tt)+) => { $crate::say::say(::std::format_args!($($text)+)) };
}

/// Says `text` as one line. It goes in one piece: other processes of the unit may say something at the same time.
pub fn say(text: Arguments<'_>) {
    let line = format!("{}\n", one_line(&text.to_string()));
    // Nobody is there to be told that nobody listens.
    let _ = stderr().write_all(line.as_bytes());
}
