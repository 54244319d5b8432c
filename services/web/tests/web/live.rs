//! Live figures.

use std::time::Duration;

use octet_web::{ConnectionUse, WebLimits};
use serde_json::json;

use crate::browser::{Events, Site};
use crate::recorded::{double, figures, site};

#[test]
fn many_viewers_cost_one_call() {
    let site = site();
    let browser = site.browser();
    let mut viewers: Vec<Events> = (0..50).map(|_| browser.events("/events")).collect();
    site.double.wait_for_watchers(1);
    for cpu in [20, 30] {
        site.double.publish(&figures(2, cpu));
        let shown = format!("<td>{} %</td>", cpu + 1);
        for viewer in &mut viewers {
            let mut found = String::new();
            // A viewer may have got the change before.
            while !found.contains(&shown) {
                assert!(viewer.next("drawing").unwrap().starts_with("<svg"));
                found = viewer.next("figures").unwrap();
            }
        }
    }
    assert_eq!(site.double.calls(0, "face", "watch").len(), 1);
    let streams = site.double.connected().into_iter().filter(|it| it.1 == ConnectionUse::Stream);
    assert_eq!(streams.count(), 1);
    // The 51st gets the last figures at once.
    let last = browser.events("/events").next("figures").unwrap();
    assert!(last.contains("<td>31 %</td>"), "{last}");
}

#[test]
fn a_stream_is_no_activity_and_ends_with_the_session() {
    let site = site();
    let browser = site.browser();
    let mut viewer = browser.events("/events");
    site.double.wait_for_watchers(1);
    site.move_clock(Duration::from_secs(29 * 60));
    site.double.publish(&figures(1, 1));
    assert!(viewer.next("figures").is_some());
    site.move_clock(Duration::from_secs(60));
    site.double.publish(&figures(1, 2));
    assert_eq!(viewer.next("ended").as_deref(), Some(""));
    assert_eq!(viewer.next("figures"), None);
    assert_eq!(browser.get("/").status, 403);
}

#[test]
fn trouble_is_told_to_viewers() {
    let site = site();
    site.double.set_unreachable(0);
    let browser = site.browser();
    let told = browser.events("/events").next("trouble").unwrap();
    assert_eq!(told, "no answer: board 0 cannot be reached");
}

#[test]
fn who_does_not_read_is_dropped() {
    let limits = WebLimits { unread_timeout: Duration::from_millis(200), ..WebLimits::default() };
    let site = Site::start(double(), limits);
    let browser = site.browser();
    let silent = browser.events("/events");
    let mut reading = browser.events("/events");
    site.double.wait_for_watchers(1);
    assert_eq!(site.links.viewers(), 2);
    let mut cpu = 0;
    while site.links.viewers() > 1 {
        cpu += 1;
        let mut large = figures(32, cpu);
        large["trouble"] = json!("a".repeat(3000));
        site.double.publish(&large);
        assert!(reading.next("figures").is_some());
    }
    drop(silent);
    site.double.publish(&figures(1, 0));
    assert!(reading.next("figures").is_some());
}
