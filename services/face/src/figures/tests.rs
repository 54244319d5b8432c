use super::*;
use proptest::prelude::*;
use serde_json::json;

const fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A router's answer about a board.
fn answer(board: &Value) -> Value {
    let mut row = json!({
        "number": 1, "state": "enrolled", "connected": true, "heard_seconds": 3, "link": "up", "box": "ready",
        "uptime": 70, "ready": 12, "failed": [], "memory": 300, "total": 1000, "cpu_percent": 7,
        "temperature_celsius": -3, "received": 1000, "sent": 50, "refused": null,
    });
    for (name, value) in board.as_object().unwrap() {
        row[name] = value.clone();
    }
    json!({ "role": "coordinator", "number": 0, "node": "did:key:x", "nodes": [row] })
}

/// The row that is shown, `later` after the answer.
fn shown(board: &Value, later: u64) -> Value {
    let mut figures = Figures::default();
    figures.hear(&answer(board), at(100)).unwrap();
    figures.to_json(at(100 + later))["nodes"][0].clone()
}

#[test]
fn figures_are_those_of_the_answer() {
    let row = shown(&json!({}), 0);
    for (name, value) in answer(&json!({}))["nodes"][0].as_object().unwrap() {
        assert_eq!(row[name], *value, "{name}");
    }
    assert_eq!((&row["condition"], &row["received_per_second"]), (&json!("ready"), &Value::Null));
    let mut figures = Figures::default();
    for second in [0, 10, 20] {
        let counted = json!({ "received": 1000 + 50 * second, "sent": 7 });
        figures.hear(&answer(&counted), at(second)).unwrap();
    }
    let row = &figures.to_json(at(20))["nodes"][0];
    assert_eq!((&row["received_per_second"], &row["sent_per_second"]), (&json!(50), &json!(0)));
    let history = figures.history(Quantity::MemoryPercent, at(20));
    let item =
        json!({ "number": 1, "quantity": "memory_percent", "seconds_each": 60, "values": [70] });
    assert_eq!(history, [item]);
}

#[test]
fn coins_are_shown_of_a_node_that_is_paid() {
    let mut figures = Figures::default();
    figures.hear(&answer(&json!({})), at(0)).unwrap();
    let shown = |figures: &Figures| figures.to_json(at(0)).get("coins_last_hour").cloned();
    let earnings = |noted: u64| json!({ "last_hour": 250_000, "last_day": 9, "total": 9, "noted_seconds": noted });
    for (answer, expected) in [
        (None, None),
        (Some(earnings(0)), None),
        (Some(json!("?")), None),
        (Some(earnings(7)), Some(json!(250_000))),
        (None, None),
    ] {
        figures.earn(answer.as_ref());
        assert_eq!(shown(&figures), expected, "{answer:?}");
    }
}

#[test]
fn how_a_node_is() {
    let gone = json!({ "connected": false, "heard_seconds": 50 });
    let unplugged = json!({ "connected": false, "heard_seconds": 5, "link": "down" });
    for (board, later, condition) in [
        (json!({}), 0, "ready"),
        (json!({ "box": "degraded" }), 37, "degraded"),
        (json!({ "box": null }), 0, "connected"),
        // The unit that is asked does not answer.
        (json!({}), 38, "not heard for 41 s"),
        (gone.clone(), 7, "not heard for 57 s"),
        (json!({ "connected": false, "heard_seconds": null }), 0, "not heard"),
        // Off is only what is seen to have no link, and not long ago; its connection may still be open.
        (json!({ "link": "down" }), 0, "off"),
        (unplugged.clone(), 0, "off"),
        (unplugged, 41, "not heard for 46 s"),
        (json!({ "connected": false, "link": null }), 0, "not heard for 3 s"),
        (json!({ "state": "none", "connected": false, "heard_seconds": null }), 0, "empty"),
        (
            json!({ "state": "pending", "connected": false, "link": "down" }),
            0,
            "waiting for approval",
        ),
        (json!({ "state": "revoked", "connected": false }), 0, "revoked"),
    ] {
        assert_eq!(shown(&board, later)["condition"], condition, "{board} {later}");
    }
    // Old figures are not shown as present ones, and are no zeros.
    let row = shown(&gone, 0);
    for name in ["cpu_percent", "memory", "uptime", "box", "received", "temperature_celsius"] {
        assert_eq!(row[name], Value::Null, "{name}");
    }
    assert_eq!(row["heard_seconds"], 50);
}

#[test]
fn a_box_of_one_board_and_a_board_of_a_box() {
    let own = json!({ "number": null, "state": "alone", "box": "ready", "cpu_percent": 3 });
    let mut figures = Figures::default();
    figures.hear(&json!({ "role": "this box is one board", "nodes": [own] }), at(0)).unwrap();
    let row = &figures.to_json(at(9))["nodes"][0];
    assert_eq!((&row["condition"], &row["cpu_percent"]), (&json!("ready"), &json!(3)));
    assert_eq!(figures.to_json(at(41))["nodes"][0]["condition"], "unknown");

    let other = json!({ "number": 1, "state": "enrolled" });
    figures.hear(&json!({ "role": "board", "number": 2, "nodes": [other] }), at(50)).unwrap();
    assert_eq!(figures.to_json(at(50))["nodes"][0]["condition"], "unknown");
    assert_eq!(figures.nodes.len(), 1, "what is no longer in the answer is dropped");
}

#[test]
fn a_lost_answer_is_said_and_changes_no_figure() {
    let mut figures = Figures::default();
    assert_eq!(figures.to_json(at(0))["trouble"], "`cluster` has not answered yet");
    figures.hear(&answer(&json!({})), at(0)).unwrap();
    figures.lose("`cluster` does not answer: x".into());
    let json = figures.to_json(at(10));
    assert_eq!(json["trouble"], "`cluster` does not answer: x");
    assert_eq!(
        (&json["nodes"][0]["cpu_percent"], &json["nodes"][0]["heard_seconds"]),
        (&json!(7), &json!(13))
    );
    assert!(figures.hear(&json!([7]), at(10)).is_err());
    assert_eq!(figures.to_json(at(10))["nodes"][0]["cpu_percent"], 7);
    figures.hear(&answer(&json!({})), at(15)).unwrap();
    assert_eq!(figures.to_json(at(15))["trouble"], Value::Null);
}

/// A day of a box whose messages are lost at a rate of 5 %, in both directions of the path: those of
/// boards to the coordinator, and the coordinator's answers to this unit.
#[test]
fn a_day_with_lost_answers_shows_no_board_as_off() {
    const BOARDS: u64 = 8;
    let mut random = fastrand::Rng::with_seed(62);
    let mut figures = Figures::default();
    let mut heard = [0u64; BOARDS as usize];
    // Board 5 is unplugged for an hour in the middle.
    let unplugged = |number: usize, second: u64| number == 5 && (40_000..43_600).contains(&second);
    let (mut off, mut false_off, mut lost) = (0u64, 0u64, 0u64);
    for second in (0..86_400u64).step_by(5) {
        for (number, heard) in heard.iter_mut().enumerate() {
            if second.is_multiple_of(10) && !unplugged(number, second) && random.f64() >= 0.05 {
                *heard = second;
            }
        }
        if random.f64() < 0.05 {
            figures.lose("`cluster` does not answer: lost".into());
            lost += 1;
        } else {
            let rows = heard.iter().enumerate().map(|(number, heard)| {
                let silent = second - heard;
                json!({
                    "number": number, "state": "enrolled", "connected": silent < 30, "heard_seconds": silent,
                    "link": if unplugged(number, second) { "down" } else { "up" }, "box": "ready", "cpu_percent": 7,
                    "received": heard * 100, "sent": heard * 10,
                })
            });
            let answer =
                json!({ "role": "coordinator", "number": 0, "nodes": rows.collect::<Vec<_>>() });
            figures.hear(&answer, at(second)).unwrap();
        }
        if !second.is_multiple_of(20) {
            continue;
        }
        let shown = figures.to_json(at(second));
        for (number, row) in shown["nodes"].as_array().unwrap().iter().enumerate() {
            let condition = row["condition"].as_str().unwrap();
            if condition == "off" {
                off += 1;
                // What was last seen may be a question or two old.
                false_off += u64::from(
                    !(unplugged(number, second) || unplugged(number, second.saturating_sub(40))),
                );
            }
            assert!(
                condition == "off"
                    || condition == "ready"
                    || condition.starts_with("not heard for"),
                "{condition}"
            );
            assert_ne!(row["cpu_percent"], 0, "a figure that is not known is missing");
        }
    }
    assert!(lost > 500 && off > 150, "{lost} answers were lost, board 5 was off in {off} answers");
    assert_eq!(false_off, 0);
    let history = figures.history(Quantity::CpuPercent, at(86_399));
    let values = |number: usize| history[number]["values"].as_array().unwrap().clone();
    assert_eq!((history.len(), values(1).len()), (BOARDS as usize, 1440));
    assert!(values(1).iter().all(|value| *value == 7));
    let missing = values(5).iter().filter(|value| value.is_null()).count();
    assert!((58..=60).contains(&missing), "{missing} minutes of board 5 have no value");
}

proptest! {
    #[test]
    fn any_answer_can_be_shown(
        text in "\\PC{0,300}", number in any::<u64>(), heard in any::<Option<u64>>(), now in any::<u32>(), later in any::<u32>(),
    ) {
        let mut figures = Figures::default();
        let row = json!({ "number": number % 256, "state": text, "box": text, "heard_seconds": heard, "cpu_percent": number,
            "memory": number, "total": heard, "received": number, "sent": heard, "refused": text });
        let now = at(now.into());
        figures.hear(&json!({ "role": text, "nodes": vec![row; 40] }), now).unwrap();
        let shown = figures.to_json(now + at(later.into()));
        prop_assert_eq!(shown["nodes"].as_array().unwrap().len(), MAX_NODES);
        figures.history(Quantity::CpuPercent, now + at(later.into()));
        let _ = figures.hear(&json!(text), now);
        let _ = figures.hear(&json!({ "role": text, "nodes": text }), now);
    }
}
