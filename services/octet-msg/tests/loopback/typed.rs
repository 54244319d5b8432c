//! One of two users has no passphrase file, and types it at a terminal.

use octet_node::key::random;

use crate::picture::code;
use crate::terminal::{Ended, Terminal};
use crate::world::{Person, Site, lines, new_folder};

const PASSPHRASE: &str = "correct horse, über allem";

/// Runs the command in the terminal, and types the passphrase.
fn run(terminal: &Terminal, words: &[&str], passphrase: &str) -> Ended {
    let typed: &[(&str, &str)] = match words {
        ["init", ..] => {
            &[("A passphrase for your messages:", passphrase), ("The same again:", passphrase)]
        }
        _ => &[("Passphrase:", passphrase)],
    };
    let ended = terminal.run(env!("CARGO_BIN_EXE_octet-msg"), words, typed);
    assert!(!ended.screen.contains(passphrase), "{}", ended.screen);
    ended
}

/// The output below the prompt.
fn say(terminal: &Terminal, words: &[&str]) -> String {
    let ended = run(terminal, words, PASSPHRASE);
    // The limit of the command itself, on a host that is too busy.
    assert!(!ended.screen.contains("does not answer"), "late: {}", ended.screen);
    assert_eq!(ended.status, 0, "{}", ended.screen);
    let said = ended.screen.strip_prefix("Passphrase:").unwrap().split_once('\n').unwrap().1;
    said.trim_end().to_owned()
}

#[test]
fn in_a_terminal_from_the_first_line_to_a_history() {
    let folder = new_folder();
    let (file, home) = (folder.path().join("letters"), new_folder());
    let site = Site::start(&file, random().unwrap(), ([127, 0, 0, 1], 0).into());
    let ben = Person::new(folder.path(), "ben");
    ben.join(&site);

    // The first command prints her public key.
    let terminal = Terminal::new(home.path());
    let made = run(&terminal, &["init", "--mailbox", &site.name()], PASSPHRASE);
    let name = made.screen.lines().find_map(|line| line.strip_prefix("you are ")).unwrap();
    assert!(home.path().join(".config/octet/messages").is_dir());
    site.admit(name.trim_end());
    assert_eq!(say(&terminal, &["receive"]), "");

    // Ben scans her invitation from the screen with a QR code reader.
    let shown = run(&terminal, &["invite"], PASSPHRASE);
    let read = code(&shown.coloured, folder.path());
    assert!(read.starts_with("OCTET-MSG:") && shown.screen.contains(&read), "{read}");
    ben.say(&["add", "anna", &read]);
    let invite = ben.say(&["invite", "--line"]);
    let added = say(&terminal, &["add", "ben", invite.trim()]);
    assert!(added.starts_with("ben is did:key:"), "{added}");

    // Each sends a message to the other.
    assert_eq!(say(&terminal, &["send", "ben", "bist du da?"]), "left at the mailbox of ben");
    assert_eq!(lines(&ben.say(&["receive"])), ["anna: bist du da?"]);
    ben.say(&["send", "anna", "für dich immer"]);
    assert_eq!(lines(&say(&terminal, &["receive"])), ["ben: für dich immer"]);

    // A new terminal shows the history with the passphrase, and nothing without it.
    drop(terminal);
    let terminal = Terminal::new(home.path());
    let history = ["to ben: bist du da?", "ben: für dich immer"];
    assert_eq!(lines(&say(&terminal, &["history"])), history);
    let refused = run(&terminal, &["history"], "correct horsf");
    assert_eq!(refused.status, 1);
    let screen = refused.screen;
    assert!(screen.contains("passphrase is wrong") && !screen.contains("immer"), "{screen}");
    drop(site);
}
