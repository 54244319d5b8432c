//! What an OLED display shows of this node, or on the coordinator of the whole box.

use std::time::Duration;

use octet_appliance::{DisplayController, DisplaySection, DisplaySize};
use octet_oled::{
    NodeCondition, OledController, OledFigures, OledKey, OledNode, OledPage, OledSize, Picture,
};

use crate::figures::{Condition, Figures};
use crate::own_node::OwnNode;
use crate::settings::Settings;

/// How long a page is shown.
pub const PAGE: Duration = Duration::from_secs(10);

/// How long the picture stays at one place. Pixels that are always lit burn in.
const SHIFT: Duration = Duration::from_secs(60);

/// The display that is drawn if the settings have none.
const PREVIEW: DisplaySection =
    DisplaySection { controller: DisplayController::Ssd1306, size: DisplaySize::Rows64, bus: None };

/// The size of the display in the settings, in the terms of its driver.
pub fn size(display: Option<DisplaySection>) -> OledSize {
    match display.unwrap_or(PREVIEW).size {
        DisplaySize::Rows64 => OledSize::Rows64,
        DisplaySize::Rows32 => OledSize::Rows32,
    }
}

pub fn controller(display: DisplaySection) -> OledController {
    match display.controller {
        DisplayController::Ssd1306 => OledController::Ssd1306,
        DisplayController::Sh1106 => OledController::Sh1106,
    }
}

/// Draws `page` at `now`, as the display of `settings` shows it.
pub fn draw(
    figures: &Figures,
    node: &OwnNode,
    settings: &Settings,
    page: OledPage,
    now: Duration,
) -> Picture {
    let address = node.address.map(|address| address.to_string());
    let text = node.key.map(|key| key.to_string());
    let key = node.key.zip(text.as_deref());
    let own = figures.own(now);
    let conditions = figures.conditions(now);
    let nodes: Vec<OledNode> = conditions
        .iter()
        .map(|(number, condition)| OledNode { number: *number, condition: square(condition) })
        .collect();
    let alarm = alarm(&own.failed, &conditions);
    let shown = OledFigures {
        name: &settings.name,
        address: address.as_deref(),
        key: key.map(|(key, text)| OledKey { bytes: *key.as_bytes(), text }),
        nodes: &nodes,
        cpu_percent: own.cpu_percent,
        memory_percent: own.memory_percent,
        received: own.received_per_second,
        sent: own.sent_per_second,
        traffic: &own.traffic,
        coins_per_hour: None,
        alarm: alarm.as_deref(),
    };
    let shift = (now.as_secs() / SHIFT.as_secs() % u64::from(octet_oled::SHIFTS)) as u8;
    octet_oled::draw(&shown, size(settings.display), page, shift)
}

fn square(condition: &Condition) -> NodeCondition {
    match condition {
        Condition::Reported(state) if state == "ready" => NodeCondition::Ready,
        Condition::Reported(state) if state == "starting" => NodeCondition::NotHeard,
        Condition::Reported(_) | Condition::Waiting | Condition::Refused | Condition::Revoked => {
            NodeCondition::Trouble
        }
        Condition::Connected | Condition::NotHeard(_) | Condition::Unknown => {
            NodeCondition::NotHeard
        }
        Condition::Off => NodeCondition::Off,
        Condition::Empty => NodeCondition::Empty,
    }
}

/// The first thing that somebody should look at. A board that is off is none: somebody may have
/// switched it off.
fn alarm(failed: &[String], conditions: &[(u8, Condition)]) -> Option<String> {
    if let [first, rest @ ..] = failed {
        let more = if rest.is_empty() { String::new() } else { format!(" +{}", rest.len()) };
        return Some(format!("{first} failed{more}"));
    }
    let wants = |condition: &Condition| match condition {
        Condition::Reported(state) => !["ready", "starting", "stopping"].contains(&state.as_str()),
        Condition::NotHeard(_) | Condition::Waiting | Condition::Refused => true,
        Condition::Connected
        | Condition::Revoked
        | Condition::Unknown
        | Condition::Off
        | Condition::Empty => false,
    };
    let (number, condition) = conditions.iter().find(|(_, condition)| wants(condition))?;
    let name = if *number == 0 { "router".to_owned() } else { format!("board {number}") };
    Some(format!("{name} {condition}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_oled::half_blocks;
    use serde_json::{Value, json};

    const NOW: Duration = Duration::from_secs(100);

    fn settings(size: DisplaySize) -> Settings {
        Settings { name: "attic".to_owned(), display: Some(DisplaySection { size, ..PREVIEW }) }
    }

    fn figures(rows: &Value) -> Figures {
        let mut figures = Figures::default();
        figures.hear(&json!({ "role": "coordinator", "number": 0, "nodes": rows }), NOW).unwrap();
        figures
    }

    fn row(number: u8, state: &str) -> Value {
        json!({ "number": number, "state": "enrolled", "connected": true, "heard_seconds": 1, "box": state, "cpu_percent": 40,
            "memory": 25, "total": 100, "failed": null })
    }

    #[test]
    fn what_changes_is_seen_on_a_page() {
        let node = OwnNode { address: "192.0.2.7".parse().ok(), key: None };
        let picture = |rows: &Value, node: &OwnNode, page| {
            half_blocks(&draw(&figures(rows), node, &settings(DisplaySize::Rows64), page, NOW))
        };
        let ready = json!([row(0, "ready"), row(1, "ready")]);
        let [identity, load] =
            [OledPage::Identity, OledPage::Load].map(|page| picture(&ready, &node, page));
        assert_ne!(identity, load);
        assert_ne!(
            identity,
            picture(&ready, &OwnNode::default(), OledPage::Identity),
            "the address"
        );
        let degraded = json!([row(0, "ready"), row(1, "degraded")]);
        assert_ne!(load, picture(&degraded, &node, OledPage::Load), "a board in trouble");
        let mut busy = ready.clone();
        busy[0]["cpu_percent"] = json!(90);
        assert_ne!(load, picture(&busy, &node, OledPage::Load), "the load of this node");
        let mut other = ready.clone();
        other[1]["cpu_percent"] = json!(90);
        assert_eq!(load, picture(&other, &node, OledPage::Load), "and of no other one");
        // The settings' size.
        let small =
            draw(&figures(&ready), &node, &settings(DisplaySize::Rows32), OledPage::Load, NOW);
        assert_eq!(small.size(), OledSize::Rows32);
        // The picture moves each minute.
        let later = NOW + SHIFT;
        let moved = draw(
            &figures(&ready),
            &node,
            &settings(DisplaySize::Rows64),
            OledPage::Identity,
            later,
        );
        assert_ne!(half_blocks(&moved), identity);
    }

    #[test]
    fn an_alarm_is_the_first_thing_to_look_at() {
        let of = |rows: &Value| {
            let figures = figures(rows);
            alarm(&figures.own(NOW).failed, &figures.conditions(NOW))
        };
        assert_eq!(of(&json!([row(0, "ready"), row(1, "ready")])), None);
        let mut failed = row(0, "degraded");
        failed["failed"] = json!(["lan", "cache"]);
        assert_eq!(of(&json!([failed, row(1, "ready")])).unwrap(), "lan failed +1");
        assert_eq!(of(&json!([row(0, "ready"), row(1, "degraded")])).unwrap(), "board 1 degraded");
        let mut silent = row(1, "ready");
        silent["connected"] = json!(false);
        assert_eq!(
            of(&json!([row(0, "ready"), silent.clone()])).unwrap(),
            "board 1 not heard for 1 s"
        );
        silent["link"] = json!("down");
        assert_eq!(of(&json!([row(0, "ready"), silent])), None, "it is off");
    }
}
