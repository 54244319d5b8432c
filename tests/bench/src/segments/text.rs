//! Boxes to measure with: the text of `appliance.toml`, as long as it is wanted.

use std::fmt::Write as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PolicyCount {
    /// How many boards there are.
    pub boards: u8,
    pub policies: u16,
}

/// A box as large as they get, with lines for everybody.
pub const LARGE: PolicyCount = PolicyCount { boards: 32, policies: 1000 };

pub const SMALL: PolicyCount = PolicyCount { boards: 8, policies: 8 };

/// A large box with few lines.
pub const FEW: PolicyCount = PolicyCount { policies: SMALL.policies, ..LARGE };

/// The ports of the datagrams that the first line lets from board 1 to board 2.
pub const FLOW: u16 = 6000;

/// The port that the last line is about, and the one that it is about after a change.
const LAST: [u16; 2] = [9000, 9001];

/// What a build needs, and says nothing here.
const IMAGE: &str = "[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

/// What router and boards are. The uplink has a fixed address, so that nobody waits for a server.
fn head(boards: u8) -> String {
    let mut text = format!(
        "[appliance]\nname = \"octet\"\n{IMAGE}[network]\n\
         address = [\"192.0.2.7/24\", \"2001:db8::7/64\"]\n\
         gateway = [\"192.0.2.1\", \"2001:db8::1\"]\n\
         [cluster]\nboards = {boards}\n[lan]\n"
    );
    for number in 1..=boards {
        let _ =
            writeln!(text, "[[board]]\nnumber = {number}\nmac = \"02:00:00:00:00:{number:02x}\"");
    }
    text
}

/// The text; `changed` says whether its last line is another than it would be.
pub fn text(size: PolicyCount, changed: bool) -> String {
    let mut text = head(size.boards);
    let mut add = |from: &str, to: &str, rest: &str| {
        let _ = writeln!(text, "[[policy]]\nfrom = \"{from}\"\nto = \"{to}\"\n{rest}");
    };
    let board = |number: u16| format!("board-{}", number % u16::from(size.boards) + 1);
    add("board-1", "board-2", &format!("protocol = \"udp\"\nports = [{FLOW}]"));
    for number in 1..size.policies.saturating_sub(1) {
        // From each board to each other one in turn.
        let (boards, port) = (u16::from(size.boards), 10_000 + number);
        let (from, to) = (board(number), board(number + 1 + number / boards % (boards - 1)));
        let single = format!("protocol = \"tcp\"\nports = [{port}]");
        match number % 8 {
            1 => add("boards", &to, &single),
            2 => add(&from, &to, &format!("protocol = \"tcp\"\nports = [\"{port}-{}\"]", port + 9)),
            3 => add("lan", &to, &format!("{single}\nrate = 100")),
            4 => add(&from, "uplink", &single),
            5 => add(&from, &to, &format!("protocol = \"udp\"\nports = [{port}]")),
            _ => add(&from, &to, &single),
        }
    }
    let port = LAST[usize::from(changed)];
    add("board-2", "board-1", &format!("protocol = \"tcp\"\nports = [{port}]"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_appliance::{Appliance, Segments};

    #[test]
    fn as_many_lines_as_were_asked_for_and_each_says_something() {
        for size in [LARGE, SMALL, FEW] {
            let [before, after] = [false, true].map(|changed| {
                let text = text(size, changed);
                let appliance =
                    Appliance::parse("a", &text).unwrap_or_else(|error| panic!("{error}"));
                let settings = appliance.cluster_settings().unwrap();
                let (segments, warnings) =
                    Segments::evaluate(&settings, &[], ("a", &text)).unwrap();
                assert!(warnings.is_empty(), "{warnings:?}");
                assert_eq!(settings.cluster.boards, size.boards);
                assert_eq!(settings.policies.len(), usize::from(size.policies));
                (settings.policies, segments.allowed.entries().count())
            });
            let pairs = before.0.iter().zip(&after.0);
            assert_eq!(pairs.filter(|(before, after)| before != after).count(), 1);
            assert_eq!(before.1, after.1);
        }
    }
}
