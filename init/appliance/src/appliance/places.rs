//! Tests that each mistake is marked at its own line, anywhere in a large file.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::descriptor::tests::descriptor;
use crate::{Appliance, FileError, Segments};

/// The line that must be marked.
#[derive(Debug, Clone, Copy)]
enum Marked {
    /// The changed one.
    Changed,
    /// The line that was added behind it.
    Added,
    /// The `[[…]]` above it.
    Header,
}
use Marked::{Added, Changed, Header};

/// The beginning of the changed line, the replaced text, its replacement, and the line that is then
/// wrong.
type Mistake = (&'static str, &'static str, &'static str, Marked);

const MISTAKES: [Mistake; 34] = [
    ("name = \"box\"", "box", "Box", Changed),
    ("    \"192.0.2.", "192.0.2.", "127.0.0.", Changed),
    ("    \"pkg-", "pkg", "pkg!", Changed),
    ("    \"mod-", "mod-", "mod/", Changed),
    ("    \"RW", "RW", "RX", Changed),
    ("key = \"did", "did", "dad", Changed),
    ("    \"read", "read", "reed", Changed),
    ("boards = 32", "32", "31", Changed),
    ("number = ", "= ", "= 99", Changed),
    ("number = ", "= ", "= 20", Changed),
    ("number = ", "number", "nummber", Changed),
    ("role = ", "\"", "\"A", Changed),
    ("mac = ", "02:", "03:", Changed),
    ("    \"svc-", "svc-", "Svc-", Changed),
    ("comment = ", "comment", "coment", Changed),
    ("comment = ", "\"", "7 # \"", Changed),
    ("    \"board-", "board-", "bord-", Changed),
    ("    \"board-", "board-", "board-9", Changed),
    ("to = \"uplink\"", "\"uplink\"", "\"board-99\"", Changed),
    ("to = \"uplink\"", "\"uplink\"", "[]", Changed),
    ("to = \"uplink\"", "to", "#", Header),
    ("protocol = \"tcp\"", "tcp", "tcpp", Changed),
    ("protocol = \"tcp\"", "\"tcp\"", "300", Changed),
    ("protocol = \"tcp\"", "\"tcp\"", "6", Changed),
    ("protocol = \"icmp\"", "\"icmp\"", "\"icmp\"\nports = 80", Added),
    ("protocol = \"icmp\"", "icmp", "tcp", Changed),
    ("protocol = \"icmp\"", "protocol", "#", Header),
    ("    10", ",", "00,", Changed),
    ("    \"2000-", "2000", "2020", Changed),
    ("rate = 5", "5", "0", Changed),
    ("to = \"board-3\"", "board-3", "boards", Changed),
    ("at = ", "tcp", "udp", Changed),
    ("at = ", "at", "#", Header),
    ("descriptor = ", "\"", "\"A", Changed),
];

/// A box of 32 boards with many sections.
fn large() -> String {
    let list = |name: &str, items: &mut dyn Iterator<Item = String>| {
        let items: String = items.map(|item| format!("    {item},\n")).collect();
        format!("{name} = [\n{items}]\n")
    };
    let quoted = |name: &str, number: u8| format!("\"{name}{number}\"");
    let key = "\"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\"".to_owned();
    let mut text = "[appliance]\nname = \"box\"\n[network]\n".to_owned();
    text += &list("dns", &mut (1..=4).map(|it| quoted("192.0.2.", it)));
    text += "[image]\ndrivers = []\nservices = []\n";
    text += &list("packages", &mut (0..80).map(|it| quoted("pkg-", it)));
    text += &list("modules", &mut (0..80).map(|it| quoted("mod-", it)));
    text += "[trust]\n";
    text += &list("update_keys", &mut [key].into_iter());
    for number in 0..20 {
        let key = descriptor(number).node();
        let _ = write!(text, "[[operator.keys]]\nkey = \"{key}\"\nname = \"name-{number}\"\n");
        text += &list("may", &mut (0..9).map(|it| quoted("read:unit-", it)));
    }
    text += "[cluster]\nboards = 32\n[lan]\n";
    for number in 1..=32 {
        let _ = write!(text, "[[board]]\nnumber = {number}\nrole = \"role-{number}\"\n");
        let _ = writeln!(text, "mac = \"02:00:00:00:00:{number:02}\"");
        text += &list("services", &mut (0..4).map(|it| quoted("svc-", it)));
    }
    for number in 0..40 {
        let _ = write!(text, "[[policy]]\ncomment = \"line {number}\"\n");
        text += &list("from", &mut (1..=9).map(|it| quoted("board-", it)));
        text += "to = \"uplink\"\nrate = 5\nprotocol = \"tcp\"\n";
        let some = [format!("10{number:02}"), "\"2000-2010\"".to_owned()];
        text += &list("ports", &mut some.into_iter());
        text += "[[policy]]\nfrom = \"boards\"\nto = \"uplink\"\nprotocol = \"icmp\"\n";
    }
    for number in 100..140 {
        let _ = write!(text, "[[publish]]\nport = \"tcp/{number}\"\nto = \"board-3\"\n");
        text += "at = \"tcp/80\"\n";
    }
    for number in 1..=4 {
        let descriptor = descriptor(number);
        let _ =
            write!(text, "[[neighbour]]\nname = \"box-{number}\"\ndescriptor = \"{descriptor}\"\n");
    }
    text
}

fn read(text: &str) -> Result<(), Box<FileError>> {
    let appliance = Appliance::parse("appliance.toml", text)?;
    let settings = appliance.cluster_settings().unwrap();
    Segments::evaluate(&settings, &[], ("appliance.toml", text)).map(drop)
}

/// Makes the mistake at one of the possible positions; returns the line that must be marked.
fn with(text: &str, mistake: Mistake, at: impl Fn(&[usize]) -> usize) -> (String, usize) {
    let (begins, from, to, marked) = mistake;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let can: Vec<usize> = (0..lines.len()).filter(|it| lines[*it].starts_with(begins)).collect();
    let index = at(&can);
    assert!(lines[index].contains(from), "{} has no {from}", lines[index]);
    lines[index] = lines[index].replacen(from, to, 1);
    let line = match marked {
        Changed => index,
        Added => index + 1,
        Header => (0..index).rev().find(|it| lines[*it].starts_with("[[")).unwrap(),
    };
    (lines.join("\n"), line + 1)
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(9),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_mistake_is_marked_at_its_own_line(mistake in select(&MISTAKES[..]), at: Index) {
        let (text, line) = with(&large(), mistake, |can| *at.get(can));
        let error = read(&text).unwrap_err();
        prop_assert_eq!(error.line, line, "{:?}: {}", mistake, error);
        prop_assert!(!error.hint.is_empty(), "{}", error);
    }
}

#[test]
fn without_a_mistake_it_is_read_and_every_mistake_has_a_place() {
    let text = large();
    read(&text).unwrap();
    assert!(text.lines().count() > 1000);
    for mistake in MISTAKES {
        let first = with(&text, mistake, |can| can[0]);
        let error = read(&first.0).unwrap_err();
        assert_eq!(error.line, first.1, "{mistake:?}: {error}");
    }
}
