//! The screen as text.

use std::fmt::Write;

use serde_json::Value;

/// Moves to the top left and clears everything (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Cells a name may take.
const NAME: usize = 16;

/// The whole screen for `status`, as PID 1 reports it.
pub fn screen(status: &Value) -> String {
    let mut out = String::from(CLEAR);
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let board = match status["board"].as_u64() {
        Some(number) => format!("board {number}"),
        None => "board number not known yet".into(),
    };
    line(format!("Octet    {}    {board}", word(&status["state"]).to_uppercase()));
    if let Some(reason) = status["reason"].as_str() {
        line(format!("         {}", clean(reason)));
    }
    line(String::new());
    for unit in status["units"].as_array().into_iter().flatten() {
        let restarts = match unit["restarts"].as_u64() {
            Some(1..) => format!("  restarts: {}", unit["restarts"]),
            _ => String::new(),
        };
        let reason = unit["reason"].as_str().map(clean).unwrap_or_default();
        let name = word(&unit["name"]);
        line(
            format!("  {name:NAME$}{:10}{reason}{restarts}", word(&unit["state"]))
                .trim_end()
                .into(),
        );
    }
    line(String::new());
    line("There is no login here. Ask this box from its owner's machine with octetctl;".into());
    line("under QEMU: cargo image ctl status".into());
    out
}

fn word(value: &Value) -> String {
    clean(value.as_str().unwrap_or("?"))
}

/// Text of other programs never moves the cursor.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shows_what_a_person_needs() {
        let text = screen(&json!({
            "state": "degraded", "reason": "unit x failed: it\u{1b}[2J broke", "board": 3,
            "units": [
                {"name": "console", "state": "ready", "restarts": 2, "reason": null},
                {"name": "x", "state": "failed", "restarts": 0, "reason": "ended with status 1"},
            ],
        }));
        let lines: Vec<&str> = text.strip_prefix(CLEAR).unwrap().lines().collect();
        assert_eq!(lines[0], "Octet    DEGRADED    board 3");
        assert_eq!(lines[1], "         unit x failed: it[2J broke");
        assert_eq!(lines[3], "  console         ready       restarts: 2");
        assert_eq!(lines[4], "  x               failed    ended with status 1");
    }

    #[test]
    fn survives_any_status() {
        for odd in [json!(null), json!([]), json!({"units": [1, {}]}), json!({"state": 7})] {
            assert!(screen(&odd).contains("octetctl"));
        }
    }
}
