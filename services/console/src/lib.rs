//! The status screen: what a person sees who connects a display or a serial line. It only shows;
//! there is no way in through it.

use std::io::{self, Write};
use std::process::ExitCode;

mod screen;

use screen::Screen;

/// Shows the state of the box until PID 1 ends the watch.
pub fn main() -> ExitCode {
    let mut shown: Option<Screen> = None;
    let result = octet_node::watch_status(|status| {
        let screen = Screen::new(status);
        let update = screen.update(shown.as_ref());
        // A terminal that takes nothing keeps nobody from the box; PID 1 hears of it in the log.
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
    // PID 1 never ends the watch; without it the screen would lie.
    ExitCode::FAILURE
}
