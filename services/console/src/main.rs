//! The status screen: what a person sees who connects a display or a serial line. It only shows;
//! there is no way in through it.

use std::io::{self, Write};
use std::process::ExitCode;

mod screen;

fn main() -> ExitCode {
    let mut shown = None;
    let result = octet_node::watch_status(|status| {
        let screen = screen::screen(status);
        // Serial lines are slow: nothing is sent twice.
        if shown.as_ref() != Some(&screen) {
            let _ = io::stdout().write_all(screen.as_bytes()).and_then(|()| io::stdout().flush());
            if shown.is_none()
                && let Err(error) = octet_node::notify_ready()
            {
                eprintln!("cannot notify PID 1: {error}");
            }
            shown = Some(screen);
        }
        true
    });
    if let Err(error) = result {
        eprintln!("{error}");
    }
    // PID 1 never ends the watch; without it the screen would lie.
    ExitCode::FAILURE
}
