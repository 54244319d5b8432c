//! Formats the status as a screen, and computes terminal updates.

use std::fmt::Write;

use octet_node::control::is_control_or_format;
use serde_json::Value;

/// The width of a name, in cells.
const NAME: usize = 16;

/// The lines of the screen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Screen(Vec<String>);

impl Screen {
    /// The screen for `status`, as PID 1 reports it.
    pub fn new(status: &Value) -> Self {
        let board = match status["board"].as_u64() {
            Some(0) => "router".into(),
            Some(number) => format!("board {number}"),
            None => "no board number".into(),
        };
        let state = word(&status["state"]).to_uppercase();
        let reason = status["reason"].as_str().map(clean).unwrap_or_default();
        let mut lines = vec![
            format!("Octet    {state}    {board}"),
            format!("         {reason}"),
            String::new(),
        ];
        for unit in status["units"].as_array().into_iter().flatten() {
            let restarts = match unit["restarts"].as_u64() {
                Some(1..) => format!("  restarts: {}", unit["restarts"]),
                _ => String::new(),
            };
            let reason = unit["reason"].as_str().map(clean).unwrap_or_default();
            let (name, state) = (word(&unit["name"]), word(&unit["state"]));
            lines.push(format!("  {name:NAME$}{state:10}{reason}{restarts}"));
        }
        lines.push(String::new());
        lines.push("There is no login here. Ask this box from its owner's machine with".into());
        lines.push("octetctl; under QEMU: cargo image ctl status".into());
        Self(lines.iter().map(|line| line.trim_end().to_owned()).collect())
    }

    /// The output that changes a terminal from `before` to this screen; empty if they are equal.
    /// Without `before` the terminal is cleared first. Only lines that differ are sent, because
    /// serial lines are slow (ECMA-48: CUP, ED, EL).
    pub fn update(&self, before: Option<&Self>) -> String {
        let mut out = String::new();
        if before.is_none() {
            out += "\x1b[H\x1b[2J";
        }
        let shown = before.map_or(&[][..], |before| &before.0);
        for (number, line) in self.0.iter().enumerate() {
            let there = shown.get(number).map_or("", String::as_str);
            if line != there {
                // The newline is for logs of the serial line.
                let _ = writeln!(out, "\x1b[{};1H{line}\x1b[K", number + 1);
            }
        }
        if shown.len() > self.0.len() {
            let _ = write!(out, "\x1b[{};1H\x1b[J", self.0.len() + 1);
        }
        if !out.is_empty() {
            // The cursor is moved below, for messages of PID 1 and the kernel.
            let _ = write!(out, "\x1b[{};1H", self.0.len() + 1);
        }
        out
    }
}

fn word(value: &Value) -> String {
    clean(value.as_str().unwrap_or("?"))
}

/// Removes control characters, so that text of other programs cannot move the cursor.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !is_control_or_format(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn degraded() -> Value {
        json!({
            "state": "degraded", "reason": "unit x failed: it\u{1b}[2J broke", "board": 3,
            "units": [
                {"name": "console", "state": "ready", "restarts": 2, "reason": null},
                {"name": "x", "state": "failed", "restarts": 0, "reason": "ended with status 1"},
            ],
        })
    }

    #[test]
    fn shows_what_a_person_needs() {
        let Screen(lines) = Screen::new(&degraded());
        assert_eq!(lines[0], "Octet    DEGRADED    board 3");
        assert_eq!(lines[1], "         unit x failed: it[2J broke");
        assert_eq!(lines[3], "  console         ready       restarts: 2");
        assert_eq!(lines[4], "  x               failed    ended with status 1");
    }

    #[test]
    fn survives_any_status() {
        for odd in [json!(null), json!([]), json!({"units": [1, {}]}), json!({"state": 7})] {
            assert!(Screen::new(&odd).update(None).contains("octetctl"));
        }
    }

    /// A terminal that implements what the screen uses.
    fn show(terminal: &mut Vec<String>, text: &str) {
        if let Some(rest) = text.strip_prefix("\x1b[H\x1b[2J") {
            terminal.clear();
            return show(terminal, rest);
        }
        for piece in text.split("\x1b[").skip(1) {
            if piece == "J" || piece == "K\n" {
                continue; // handled with the position before it
            }
            let Some((line, rest)) = piece.split_once(";1H") else { continue };
            let line: usize = line.parse().unwrap();
            terminal.resize(terminal.len().max(line), String::new());
            if text.contains(&format!("\x1b[{line};1H\x1b[J")) {
                terminal.truncate(line - 1);
            } else if text.contains(&format!("\x1b[{line};1H{rest}\x1b[K")) {
                terminal[line - 1] = rest.to_owned();
            }
        }
        while terminal.last().is_some_and(String::is_empty) {
            terminal.pop();
        }
    }

    #[test]
    fn updates_lead_to_the_same_screen() {
        let screens: Vec<Screen> = [
            json!({"state": "starting", "units": [{"name": "a", "state": "starting"}]}),
            json!({"state": "ready", "units": [{"name": "a", "state": "ready"}]}),
            degraded(),
            json!({"state": "stopping", "units": []}),
        ]
        .iter()
        .map(Screen::new)
        .collect();
        let mut terminal = vec![];
        let mut before = None;
        for screen in &screens {
            show(&mut terminal, &screen.update(before));
            assert_eq!(terminal, screen.0);
            before = Some(screen);
        }
        assert_eq!(screens[0].update(Some(&screens[0])), "");
        let change = screens[1].update(Some(&screens[0]));
        assert!(change.len() < screens[1].update(None).len() / 2, "{change:?}");
    }
}
