//! The LED of a board as a sign of its state, where it has one (docs/boards.md).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::supervisor::BoxState;

/// Where the kernel has LEDs (Documentation/leds/leds-class.rst).
const LEDS: &str = "/sys/class/leds";

/// The function at the end of a name, `COLOUR:FUNCTION`, by which a device tree says what an LED is for.
const FUNCTIONS: [&str; 2] = ["status", "activity"];

/// That of a Raspberry Pi has this name alone.
const RASPBERRY_PI: &str = "ACT";

/// Milliseconds that it is on, and off, when something is wrong.
const BLINK: &str = "100";

/// All LEDs for this, and what they show.
pub struct StatusLed {
    folder: PathBuf,
    shown: Option<BoxState>,
}

impl Default for StatusLed {
    fn default() -> Self {
        Self { folder: LEDS.into(), shown: None }
    }
}

impl StatusLed {
    /// Shows `state`. A driver that is loaded later is found at the next change. The kernel sets an LED that it has to
    /// wait for in the background.
    pub fn show(&mut self, state: BoxState) {
        if self.shown == Some(state) {
            return;
        }
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| is_status_led(&entry.file_name().to_string_lossy())) {
            // An LED that cannot be set is dark: there is nothing else to do about it.
            let _ = set(&entry.path(), state);
            self.shown = Some(state);
        }
    }
}

fn is_status_led(name: &str) -> bool {
    name == RASPBERRY_PI
        || name.rsplit_once(':').is_some_and(|(_, function)| FUNCTIONS.contains(&function))
}

/// Sets the LED in `folder`.
fn set(folder: &Path, state: BoxState) -> io::Result<()> {
    let write = |file: &str, value: &str| fs::write(folder.join(file), value);
    match state {
        BoxState::Starting => {
            write("trigger", "none")?;
            write("brightness", "255")
        }
        BoxState::Ready => write("trigger", "heartbeat"),
        BoxState::Degraded => {
            write("trigger", "timer")?;
            write("delay_on", BLINK)?;
            write("delay_off", BLINK)
        }
        BoxState::Stopping => {
            write("trigger", "none")?;
            write("brightness", "0")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let mut led = StatusLed { folder: folder.path().to_owned(), shown: None };
        led.show(BoxState::Starting);
        let names =
            ["nanopi:blue:status", "nanopi:green:pwr", "green:activity", "ACT", "input0::capslock"];
        for name in names {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let read = |name: &str, file: &str| {
            fs::read_to_string(folder.path().join(name).join(file)).unwrap_or_default()
        };
        // It was not there at the first time.
        led.show(BoxState::Starting);
        for (state, file, value) in [
            (BoxState::Starting, "brightness", "255"),
            (BoxState::Ready, "trigger", "heartbeat"),
            (BoxState::Degraded, "trigger", "timer"),
            (BoxState::Degraded, "delay_on", "100"),
            (BoxState::Degraded, "delay_off", "100"),
            (BoxState::Stopping, "trigger", "none"),
            (BoxState::Stopping, "brightness", "0"),
        ] {
            led.show(state);
            for name in ["nanopi:blue:status", "green:activity", "ACT"] {
                assert_eq!(read(name, file), value, "{name} {state:?} {file}");
            }
        }
        for other in ["nanopi:green:pwr", "input0::capslock"] {
            assert_eq!(fs::read_dir(folder.path().join(other)).unwrap().count(), 0);
        }
    }
}
