//! The thread of the OLED display.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use octet_appliance::DisplaySection;
use octet_node::say;
use octet_oled::{
    LOW_CONTRAST, LinuxBus, OledDisplay, OledError, OledPage, OledSettings, open, probe,
};

use crate::Shared;
use crate::own_node::OwnNode;
use crate::screen;

/// The time after which a display that did not answer is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(60);

/// The time after which a display is set up anew: it may have been without power between two
/// pictures.
const SETUP_INTERVAL: Duration = Duration::from_secs(300);

/// The highest number of a bus that is tried.
const MAX_BUS: u8 = 7;

/// The stack size of the thread, in bytes.
const STACK: usize = 256 << 10;

/// A display that answers.
struct Attached {
    display: OledDisplay<LinuxBus>,
    settings: DisplaySection,
    setup_at: Duration,
}

/// Shows this node's figures on the display that the settings name, forever. Without one the thread
/// sleeps until the settings change.
///
/// # Errors
/// No thread can be started.
pub fn start(devices: PathBuf, shared: Arc<Shared>) -> io::Result<()> {
    let run = move || show_forever(&devices, &shared);
    Builder::new().name("display".into()).stack_size(STACK).spawn(run).map(drop)
}

fn show_forever(devices: &Path, shared: &Shared) {
    let (mut attached, mut retry_at, mut logged) =
        (None::<Attached>, Duration::ZERO, String::new());
    let mut turn = PageTurn::default();
    loop {
        let settings = shared.settings();
        let now = shared.now();
        let Some(section) = settings.display else {
            if let Some(mut attached) = attached.take() {
                // It may have gone with its line of the settings.
                let _ = attached.display.off();
            }
            shared.set_display_state("no [display] in the settings".into());
            shared.wait_for_settings(&settings);
            retry_at = Duration::ZERO;
            continue;
        };
        if attached.as_ref().is_some_and(|attached| attached.settings != section) {
            attached = None;
            retry_at = Duration::ZERO;
        }
        if attached.is_none() && now >= retry_at {
            match find(devices, section) {
                Ok((display, place)) => {
                    attached = Some(Attached { display, settings: section, setup_at: now });
                    shared.set_display_state(place.clone());
                    say!("{place}");
                    logged.clear();
                }
                Err(problem) => {
                    retry_at = now + RETRY_DELAY;
                    report(shared, problem, &mut logged);
                }
            }
        }
        if let Some(shown) = &mut attached {
            let node = shared.node();
            let page = turn.page(&node, now);
            let picture =
                shared.with(|figures, now| screen::draw(figures, &node, &settings, page, now));
            if now.saturating_sub(shown.setup_at) >= SETUP_INTERVAL {
                shown.display.forget();
                shown.setup_at = now;
            }
            if let Err(error) = shown.display.show(&picture) {
                report(shared, format!("{error}: {}", error.help()), &mut logged);
                attached = None;
                retry_at = now + RETRY_DELAY;
            }
        }
        shared.wait_for_news(if attached.is_some() { screen::PAGE / 2 } else { RETRY_DELAY });
    }
}

fn report(shared: &Shared, problem: String, logged: &mut String) {
    shared.set_display_state(problem.clone());
    if *logged != problem {
        say!("{problem}");
        *logged = problem;
    }
}

/// The display that answers at the bus of the settings, or at any bus; and where it is, for people.
fn find(
    devices: &Path,
    section: DisplaySection,
) -> Result<(OledDisplay<LinuxBus>, String), String> {
    let numbers = section.bus.map_or(0..=MAX_BUS, |bus| bus..=bus);
    let (mut problem, mut is_bus) = (None, false);
    for path in numbers.map(|number| devices.join(format!("i2c-{number}"))) {
        if !path.exists() {
            continue;
        }
        is_bus = true;
        match find_at(&path, section) {
            Ok(Some((display, address))) => {
                return Ok((display, format!("shown on {} at {address:#04x}", path.display())));
            }
            Ok(None) => {}
            Err(error) => problem = Some(format!("{error}: {}", error.help())),
        }
    }
    Err(match (problem, is_bus) {
        (Some(problem), _) => problem,
        (None, true) => {
            "no display answers at 0x3c or 0x3d: check its power and its two lines".into()
        }
        (None, false) => match section.bus {
            Some(bus) => format!("this node has no I2C bus {bus}"),
            None => "this node has no I2C bus".into(),
        },
    })
}

fn find_at(
    path: &Path,
    section: DisplaySection,
) -> Result<Option<(OledDisplay<LinuxBus>, u8)>, OledError> {
    let mut bus = open(path)?;
    let Some(address) = probe(&mut bus)?.first().copied() else { return Ok(None) };
    let settings = OledSettings {
        controller: screen::controller(section),
        size: screen::size(Some(section)),
        address,
        contrast: LOW_CONTRAST,
    };
    Ok(Some((OledDisplay::new(bus, settings), address)))
}

/// Which page is shown. Another address is shown at once.
#[derive(Debug, Default)]
struct PageTurn {
    node: OwnNode,
    /// When the page with the address was last begun.
    since: Duration,
}

impl PageTurn {
    fn page(&mut self, node: &OwnNode, now: Duration) -> OledPage {
        if self.node != *node {
            self.node = node.clone();
            self.since = now;
        }
        let turns = now.saturating_sub(self.since).as_secs() / screen::PAGE.as_secs();
        OledPage::numbered(turns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::{DisplayController, DisplaySize};
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn another_address_is_shown_at_once() {
        let (mut turn, at) = (PageTurn::default(), Duration::from_secs);
        let node = |address: &str| OwnNode { address: address.parse().ok(), key: None };
        let none = OwnNode::default();
        assert_eq!(turn.page(&none, at(3)), OledPage::Identity);
        assert_eq!(turn.page(&none, at(12)), OledPage::Load);
        assert_eq!(turn.page(&node("192.0.2.7"), at(14)), OledPage::Identity);
        assert_eq!(turn.page(&node("192.0.2.7"), at(23)), OledPage::Identity);
        assert_eq!(turn.page(&node("192.0.2.7"), at(24)), OledPage::Load);
        assert_eq!(turn.page(&node("192.0.2.7"), at(34)), OledPage::Identity);
        assert_eq!(turn.page(&node("192.0.2.8"), at(45)), OledPage::Identity);
    }

    #[test]
    fn without_a_display_the_reason_is_said() {
        let folder = TempDir::new().unwrap();
        let section = DisplaySection {
            controller: DisplayController::Ssd1306,
            size: DisplaySize::Rows64,
            bus: None,
        };
        let problem = |section| find(folder.path(), section).err().unwrap();
        assert_eq!(problem(section), "this node has no I2C bus");
        assert_eq!(
            problem(DisplaySection { bus: Some(1), ..section }),
            "this node has no I2C bus 1"
        );
        // A file is no bus.
        fs::write(folder.path().join("i2c-1"), "").unwrap();
        for section in [section, DisplaySection { bus: Some(1), ..section }] {
            let said = problem(section);
            assert!(said.contains("failed") || said.contains("cannot open"), "{said}");
        }
    }
}
