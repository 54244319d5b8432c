//! What a board says of itself, and what it is made of: PID 1's word and what the kernel counts.

use octet_cluster::message::{FromBoard, LONGEST_REPORT};
use octet_cluster::report::{NodeReport, Worked, temperature};
use serde_json::Value;

/// What is read is short, reads the same again, and can be said; percents are percents.
pub fn report(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = temperature(&text);
    let (before, after) = text.split_once("\n\n").unwrap_or((&text, ""));
    if let (Some(before), Some(after)) = (Worked::parse(before), Worked::parse(after)) {
        assert!(after.since(before).is_none_or(|percent| percent <= 100));
    }
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let made = NodeReport::of_status(&value);
    let read = value.as_object().map(NodeReport::read);
    for report in [Some(made), read].into_iter().flatten() {
        assert!(report.cpu.is_none_or(|percent| percent <= 100));
        assert_eq!(NodeReport::read(&report.say()), report);
        let said = serde_json::to_vec(&FromBoard::Report(report.say())).expect("it is JSON");
        assert!(said.len() <= LONGEST_REPORT);
        assert!(FromBoard::parse(&said).is_ok());
    }
}
