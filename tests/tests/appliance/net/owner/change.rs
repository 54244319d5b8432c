//! Settings that operators apply, and roll back.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;

use octet_tests::{SOON, SigningKey};
use serde_json::{Value, json};

use crate::net::owner::site::Site;

const FILE: &str = "appliance.toml";

/// The time to confirm is longer than the steps in between take on a busy host.
const TRY: [&str; 4] = ["config", "apply", "--confirm=3600", FILE];

const STRANGER: &str = "is not an operator of this box";

/// The name in force.
fn name(site: &Site<'_>) -> Value {
    site.json("anna", &["config", "show", "--section", "appliance"])["name"].clone()
}

/// The history: number, state, author, and whether it was signed.
fn history(site: &Site<'_>) -> Value {
    let rows = site.json("anna", &["config", "history"]);
    let row = |row: &Value| json!([row["sequence"], row["standing"], row["by"], row["signed"]]);
    rows.as_array().unwrap().iter().map(row).collect()
}

/// A row of the history with a signature.
fn row(site: &Site<'_>, sequence: u64, standing: &str, who: &str) -> Value {
    json!([sequence, standing, site.people.key(who), true])
}

fn image_row() -> Value {
    json!([0, "the image's", null, null])
}

/// Checks the settings in force.
fn in_force(site: &Site<'_>, text: &str) {
    let shown = site.may("anna", &["config", "show"]);
    assert!(shown.contains(text), "{shown}");
}

/// Checks that the output reports these settings as applied.
fn is_applied(said: &str, sequence: &str) {
    let row: Vec<_> = said.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(row, ["applied", sequence], "{said}");
}

/// Anna adds Dora as an operator, and removes Carl.
pub fn by_the_owner(site: &Site<'_>) {
    let people = site.people;
    let first = people.first_text();
    in_force(site, &first);
    assert_eq!((name(site), history(site)), (json!("octet"), json!([image_row()])));
    site.may("carl", &["status"]);
    // Carl follows the log, and has read the first line.
    let mut follows = people.owner.command("carl", &site.words(&["logs", "-f"]));
    let mut follows = follows.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut printed = BufReader::new(follows.stdout.take().unwrap());
    printed.read_line(&mut String::new()).unwrap();

    let text = people.text("attic", &["anna", "ben", "dora"], "");
    people.owner.write(FILE, &text);
    let differs = site.may("carl", &["config", "diff", FILE]);
    assert!(differs.contains("appliance.name") && differs.contains("attic"), "{differs}");
    // An operator with `read` may compare the settings, and no more.
    site.may_not("carl", &["config", "apply", FILE], "needs `configure`");
    site.may_not("dora", &["status"], STRANGER);
    in_force(site, &first);
    site.logged(&["carl", people.key("carl"), "disconnected"], || {
        let applied = site.may("anna", &TRY);
        is_applied(&applied, "1");
        // New operators' keys are repeated in the answer.
        assert!(applied.contains(people.key("dora")), "{applied}");
    });
    let (sender, ended) = channel();
    thread::spawn(move || {
        printed.read_to_end(&mut vec![]).unwrap();
        sender.send(follows.wait_with_output().unwrap())
    });
    let follows = ended.recv_timeout(SOON).expect("Carl's connection ends");
    let said = String::from_utf8_lossy(&follows.stderr);
    assert!(follows.status.code() == Some(1) && said.contains("closed the connection"), "{said}");
    site.may_not("carl", &["status"], STRANGER);
    site.may("dora", &["status"]);
    assert_eq!(history(site)[0], row(site, 1, "trying", "anna"));
    site.may_not("ben", &["config", "apply", FILE], "configuration 1 waits to be confirmed");
    assert_eq!(site.may("anna", &["config", "confirm"]), "confirmed  1\n");
    in_force(site, &text);
    assert_eq!(history(site), json!([row(site, 1, "confirmed", "anna"), image_row()]));
}

/// Ben may configure the box, and does; he may not change its owners.
pub fn by_who_configures(site: &Site<'_>) {
    let people = site.people;
    let named = ["anna", "ben", "dora"];
    let text = people.text("cellar", &named, "");
    people.owner.write(FILE, &text);
    let applied = site.may("ben", &["config", "apply", FILE]);
    is_applied(&applied, "2");
    assert_eq!(site.may("ben", &["config", "confirm"]), "confirmed  2\n");
    assert_eq!(
        (name(site), &history(site)[0]),
        (json!("cellar"), &row(site, 2, "confirmed", "ben"))
    );

    let with_eve = people.text("cellar", &["anna", "ben", "dora", "eve"], "");
    let key = SigningKey::new().public();
    let with_key = people.text("cellar", &named, &format!("[trust]\nupdate_keys = [{key:?}]\n"));
    let as_owner = text.replace("[\"read\",\"configure\"]", "[\"own\"]");
    assert_ne!(as_owner, text);
    let before = history(site);
    for (section, text) in [("operator", &with_eve), ("trust", &with_key), ("operator", &as_owner)]
    {
        people.owner.write(FILE, text);
        let why = format!("`ben` does not own this box, so `{section}` stays as it is");
        site.may_not("ben", &TRY, &why);
    }
    // A used number is refused for every signer.
    people.owner.write(FILE, &people.text("third", &named, ""));
    let again = ["config", "apply", "--sequence=2", FILE];
    site.may_not("ben", &again, "this is for configuration 2, and the next one is 3");
    in_force(site, &text);
    assert_eq!(history(site), before);
    site.may_not("eve", &["status"], STRANGER);
    site.may_not("ben", &["restart", "console"], "needs `operate`");

    // The owner may make the changes that Ben may not; they are undone later.
    for (sequence, section, text) in [(3, "operator", &with_eve), (4, "trust", &with_key)] {
        let show = || site.json("anna", &["config", "show", "--section", section]);
        let before = show();
        people.owner.write(FILE, text);
        site.may("anna", &TRY);
        assert_ne!(show(), before);
        assert_eq!(site.may("anna", &["config", "rollback"]), format!("undone  {sequence}\n"));
        assert_eq!(show(), before);
    }
}

/// Rolls back to the previous confirmed configuration, and to the image's.
pub fn back(site: &Site<'_>) {
    let people = site.people;
    // That would change the operators.
    site.may_not("ben", &["config", "rollback", "0"], "`ben` does not own this box");
    site.may_not("carl", &["status"], STRANGER);
    let applied = site.may("anna", &["config", "rollback", "0", "--confirm=3600"]);
    is_applied(&applied, "5");
    in_force(site, &people.first_text());
    site.may("carl", &["status"]);
    site.may_not("dora", &["status"], STRANGER);
    assert_eq!(site.may("anna", &["config", "rollback"]), "undone  5\n");
    site.may("dora", &["status"]);
    site.may_not("carl", &["status"], STRANGER);

    assert_eq!(name(site), "cellar");
    let applied = site.may("anna", &["config", "rollback"]);
    is_applied(&applied, "6");
    assert_eq!(site.may("anna", &["config", "confirm"]), "confirmed  6\n");
    is_kept(site);
}

/// The last confirmed configuration is in force, with its operators.
pub fn is_kept(site: &Site<'_>) {
    in_force(site, &site.people.text("attic", &["anna", "ben", "dora"], ""));
    let there_was = history(site);
    assert_eq!(there_was[0], row(site, 6, "confirmed", "anna"));
    let standings = there_was.as_array().unwrap().iter().map(|row| row[1].as_str().unwrap());
    let standings: Vec<_> = standings.collect();
    let expected = ["confirmed", "undone", "undone", "undone", "confirmed", "confirmed"];
    assert_eq!(standings, [&expected[..], &["the image's"]].concat());
    site.may("dora", &["status"]);
    site.may_not("carl", &["status"], STRANGER);
}
