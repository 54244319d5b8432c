//! The status screen on a display or serial line. It only shows the status, and accepts no input.

use std::io::{self, Write};
use std::process::ExitCode;

mod screen;

use screen::Screen;

/// Shows the status until PID 1 ends the connection.
pub fn main() -> ExitCode {
    let mut shown: Option<Screen> = None;
    let result = octet_node::watch_status(|status| {
        let screen = Screen::new(status);
        let update = screen.update(shown.as_ref());
        // A terminal that fails must not stop the service; the error is logged.
        if let Err(error) =
            io::stdout().write_all(update.as_bytes()).and_then(|()| io::stdout().flush())
        {
            eprintln!("cannot draw: {error}");
        }
        if shown.is_none()
            && let Err(error) = octet_node::notify_ready()
        {
            eprintln!("cannot notify PID 1: {error}");
        }
        shown = Some(screen);
        true
    });
    if let Err(error) = result {
        eprintln!("{error}");
    }
    // PID 1 never ends this call. Without it the screen would be outdated, so the service fails.
    ExitCode::FAILURE
}
