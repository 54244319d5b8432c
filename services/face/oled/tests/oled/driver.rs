//! The driver with displays that work, and with some that do not.

use octet_oled::{OledController, OledError, OledFigures, OledPage, OledSize, draw, probe};

use crate::figures::{nodes, ready, traffic};
use crate::mock::MockDisplay;

const CONTROLLERS: [OledController; 2] = [OledController::Ssd1306, OledController::Sh1106];
const SIZE: OledSize = OledSize::Rows64;
const PAGES: usize = 8;
const ADDRESS: u8 = 0x3C;

fn load(figures: &OledFigures) -> octet_oled::Picture {
    draw(figures, SIZE, OledPage::Load, 0)
}

#[test]
fn only_changed_pages_are_written() {
    let (nodes, traffic) = (nodes(8), traffic());
    let figures = ready(&nodes, &traffic);
    for controller in CONTROLLERS {
        let display = MockDisplay::new(controller);
        let mut driver = display.driver(SIZE);
        driver.show(&load(&figures)).unwrap();
        // The set-up, each page with its place, and the switch.
        assert_eq!(display.take_log().len(), 2 + 2 * PAGES);
        assert_eq!(display.contrast(), 0x20);
        driver.show(&load(&figures)).unwrap();
        assert_eq!(display.take_log(), Vec::<Vec<u8>>::new());

        // The bars are in the second page and the third.
        let changed = load(&OledFigures { cpu_percent: Some(35), ..figures.clone() });
        driver.show(&changed).unwrap();
        let log = display.take_log();
        let places: Vec<u8> = log.iter().filter(|it| it[0] == 0x00).map(|it| it[1]).collect();
        assert_eq!(places, [0xB1, 0xB2]);
        let fresh = MockDisplay::new(controller);
        fresh.driver(SIZE).show(&changed).unwrap();
        assert_eq!(display.seen(), fresh.seen());
    }
}

#[test]
fn a_display_that_vanishes_is_set_up_again() {
    let (nodes, traffic) = (nodes(8), traffic());
    let figures = ready(&nodes, &traffic);
    let pictures =
        [1, 99].map(|percent| load(&OledFigures { cpu_percent: Some(percent), ..figures.clone() }));
    for controller in CONTROLLERS {
        let fresh = MockDisplay::new(controller);
        fresh.driver(SIZE).show(&pictures[1]).unwrap();
        let all = fresh.take_log();
        // At each transfer of a set-up, and then at each of a change.
        for (is_set_up, transfers) in
            (0..all.len()).map(|at| (false, at)).chain((0..4).map(|at| (true, at)))
        {
            let display = MockDisplay::new(controller);
            let mut driver = display.driver(SIZE);
            if is_set_up {
                driver.show(&pictures[0]).unwrap();
            }
            display.unplug_after(transfers);
            let error = driver.show(&pictures[1]).unwrap_err();
            assert_eq!(error, OledError::NoDisplay { address: ADDRESS });
            assert_eq!(driver.show(&pictures[1]).unwrap_err(), error);
            display.plug();
            driver.show(&pictures[1]).unwrap();
            assert_eq!(display.seen(), fresh.seen());
            assert_eq!(display.take_log(), all);
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let display = MockDisplay::new(OledController::Ssd1306);
    let mut driver = display.driver(SIZE);
    let picture = load(&OledFigures::default());
    driver.show(&picture).unwrap();
    driver.forget();
    display.unplug_after(0);
    let error = driver.show(&picture).unwrap_err();
    assert_eq!(error.to_string(), "no display answers at address 0x3c");
    assert!(error.help().contains("power"));
    display.fail_after(0);
    let error = driver.show(&picture).unwrap_err();
    assert!(matches!(error, OledError::Bus { address: ADDRESS, .. }), "{error}");
    assert!(error.to_string().starts_with("the I2C bus failed at address 0x3c: "), "{error}");
    assert!(error.help().contains("pull-ups"));
    display.plug();
    let small = draw(&OledFigures::default(), OledSize::Rows32, OledPage::Load, 0);
    let error = driver.show(&small).unwrap_err();
    assert_eq!(error, OledError::WrongSize { picture: 32, display: 64 });
    driver.show(&picture).unwrap();
}

#[test]
fn a_display_without_memory_is_written_again() {
    let display = MockDisplay::new(OledController::Sh1106);
    let mut driver = display.driver(SIZE);
    let picture = load(&OledFigures::default());
    driver.show(&picture).unwrap();
    let seen = display.seen();
    display.plug();
    driver.show(&picture).unwrap();
    assert!(!display.is_on());
    driver.forget();
    driver.show(&picture).unwrap();
    assert_eq!(display.seen(), seen);
}

#[test]
fn off_is_dark() {
    for controller in CONTROLLERS {
        let display = MockDisplay::new(controller);
        let mut driver = display.driver(SIZE);
        let picture = load(&OledFigures::default());
        driver.show(&picture).unwrap();
        assert!(display.is_on());
        driver.off().unwrap();
        assert!(!display.is_on());
        driver.show(&picture).unwrap();
        assert!(display.is_on());
    }
}

#[test]
fn a_display_is_found_where_it_is() {
    for controller in CONTROLLERS {
        let mut display = MockDisplay::new(controller);
        assert_eq!(probe(&mut display), Ok(vec![ADDRESS]));
        display.unplug_after(0);
        assert_eq!(probe(&mut display), Ok(vec![]));
        display.fail_after(0);
        assert!(matches!(probe(&mut display), Err(OledError::Bus { address: ADDRESS, .. })));
    }
}
