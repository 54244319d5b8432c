//! A board's health report, and its sources: PID 1's status and the kernel's counters.

use octet_cluster::message::{FromBoard, LONGEST_REPORT};
use octet_cluster::report::{CpuTicks, NodeReport};
use serde_json::Value;

/// A decoded report is short, is the same after encoding and decoding, and can be sent; percentages
/// are at most 100.
pub fn report(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (before, after) = text.split_once("\n\n").unwrap_or((&text, ""));
    if let (Some(before), Some(after)) = (CpuTicks::parse(before), CpuTicks::parse(after)) {
        assert!(after.since(before).is_none_or(|percent| percent <= 100));
    }
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let made = NodeReport::from_status(&value);
    let read = value.as_object().map(NodeReport::from_json);
    for report in [Some(made), read].into_iter().flatten() {
        assert!(report.cpu.is_none_or(|percent| percent <= 100));
        assert_eq!(NodeReport::from_json(&report.to_json()), report);
        let said = serde_json::to_vec(&FromBoard::Report(report.to_json())).expect("it is JSON");
        assert!(said.len() <= LONGEST_REPORT);
        assert!(FromBoard::parse(&said).is_ok());
    }
}
