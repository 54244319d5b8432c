//! What a box with 32 boards answers.

use octet_control::{ArgKind, ColumnKind, Permission, Verb, logs_verb};
use octet_web::WebLimits;
use serde_json::{Value, json};

use crate::browser::Site;
use crate::double::{BoxDouble, Recorded};

/// Text that would be a script, and hides other text.
pub const HOSTILE: &str = "<script>alert(1)</script>\u{202e}\" onload=x";

pub fn figures(boards: u8, cpu: u64) -> Value {
    let node = |number: u8| {
        json!({
            "number": number, "condition": "ready", "state": "enrolled", "link": "up", "heard_seconds": 4,
            "uptime": 100_000, "ready": 12, "failed": ["lan"], "memory": 1_500_000_000, "total": 2_000_000_000_u64,
            "cpu_percent": cpu + u64::from(number), "temperature_celsius": 41, "received": 123_456_789,
            "sent": 123_456_789, "received_per_second": 123_456, "sent_per_second": 654_321,
            "refused": null, "connected": true, "box": "ready", "last_seen": "2026-11-30T01:02:03Z",
        })
    };
    let nodes: Vec<Value> = (0..=boards).map(node).collect();
    json!({ "role": "coordinator", "number": 0, "nodes": nodes })
}

fn history(quantity: &str, boards: u8) -> Recorded {
    let values: Vec<Value> = (0..1440)
        .map(|minute| if minute % 97 < 5 { Value::Null } else { json!(minute % 100) })
        .collect();
    let node = |number: u8| json!({ "number": number, "quantity": quantity, "seconds_each": 60, "values": values });
    Recorded { items: (0..=boards).map(node).collect(), end: Ok(Value::Null) }
}

/// A box whose units answer, with as many boards as there can be.
pub fn double() -> BoxDouble {
    use Permission::{Configure, Operate, Own, Read, Update};

    let double = BoxDouble::default();
    let verb = |name: &str, needs| Verb::new(name, needs, "Does it");
    let of_unit = |name: &str| verb(name, Operate).required("unit", ArgKind::Text, "The unit");
    let of_board = |name: &str| verb(name, Operate).required("number", ArgKind::Text, "The board");
    let status = verb("status", Read).columns(ColumnKind::Bytes, &["memory", "total"]);
    double.describe(
        "init",
        vec![
            status,
            logs_verb(),
            of_unit("restart"),
            of_unit("stop"),
            of_unit("start"),
            verb("poweroff", Operate),
        ],
    );
    double.describe("logd", vec![logs_verb()]);
    double.describe("face", vec![verb("show", Read), verb("watch", Read), verb("history", Read)]);
    double.describe("cluster", vec![of_board("drain"), of_board("undrain"), verb("approve", Own)]);
    double.describe("netd", vec![verb("plan", Read), verb("explain", Read)]);
    let stats = verb("stats", Read).columns(ColumnKind::Bytes, &["free"]);
    let metrics = verb("metrics", Read).columns(ColumnKind::Lines, &["text"]);
    double
        .describe("cache", vec![stats, verb("ls", Read), metrics, verb("hidden", Read).internal()]);
    let accounts = verb("show", Read).columns(ColumnKind::Bytes, &["served"]);
    let accounts = accounts.columns(ColumnKind::Millionths, &["owed_to_us", "balance"]);
    double.describe("accounts", vec![accounts]);
    let account = |name: &str, balance: i64, serving: &str| json!({ "neighbour": name, "owed_to_us": 6_734_307, "balance": balance, "served": 7_277_168, "serving": serving });
    let all = json!([account("hill", -250_000, "stopped"), account(HOSTILE, 0, HOSTILE)]);
    double.answer(0, "accounts", "show", all);
    double.describe("config", vec![verb("apply", Configure)]);
    let install = verb("install", Update).required("file", ArgKind::File, "The bundle");
    double.describe("update", vec![verb("status", Read), install, verb("rollback", Update)]);
    double.answer(0, "face", "show", figures(32, 10));
    for quantity in ["cpu_percent", "received_per_second", "sent_per_second"] {
        double.record(0, "face", &format!("history {quantity}"), history(quantity, 32));
    }
    for node in 0..=3 {
        let units = json!([
            { "name": "cache", "state": "failed", "restarts": 3, "memory": 1_048_576, "reason": HOSTILE },
            { "name": "lan", "state": "ready", "restarts": 0, "memory": null, "reason": null },
            { "name": HOSTILE, "state": "ready", "restarts": 0, "reason": null },
        ]);
        let memory = json!({ "total": 2_147_483_648_u64 });
        double.answer(
            node,
            "init",
            "status",
            json!({ "board": node, "state": "degraded", "reason": HOSTILE, "memory": memory, "units": units }),
        );
        double.answer(node, "init", "units", json!([{ "name": "cache" }, { "name": "logd" }]));
        let lines = json!({ "lines": ["2026 cache: started", format!("2026 cache: {HOSTILE}")] });
        double.record(node, "logd", "logs", Recorded { items: vec![lines], end: Ok(Value::Null) });
        double.answer(node, "cache", "metrics", json!({ "text": "octet_cache_objects 3\n" }));
    }
    double.answer(0, "cache", "stats", json!({ "free": 3_145_728, "note": HOSTILE }));
    let object = json!({ "hash": "abc", "size": 7 });
    double.record(0, "cache", "ls", Recorded { items: vec![object], end: Ok(Value::Null) });
    let mut plan: Vec<String> =
        (1..=32).map(|board| format!("board-{board:<6} eth{board}, 10.20.{board}.1/24")).collect();
    plan.push("policy 1     board-1, board-2 to lan: tcp 80".to_owned());
    plan.push(format!("policy 2     boards to uplink: service {HOSTILE}"));
    double.answer(0, "netd", "plan", json!({ "plan": plan }));
    double.answer(
        0,
        "netd",
        "explain",
        json!({ "answer": "allowed", "by": "policy 1", "rule": "board-1 to lan: tcp 80" }),
    );
    double.answer(
        0,
        "update",
        "status",
        json!({ "running": "1-abc", "slots": [{ "slot": "1-abc", "standing": "good" }] }),
    );
    double
}

pub fn site() -> Site {
    Site::start(double(), WebLimits::default())
}
