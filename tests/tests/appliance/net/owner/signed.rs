//! Signed commands that other operators deliver. Their effect is visible: a unit is restarted.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octet_control::PublicKey;
use octet_tests::must;

use crate::net::owner::site::Site;

/// The position of the target node in a command (docs/gate.md).
const TARGET: std::ops::Range<usize> = 1..33;

/// The time of the test's host, and `later`.
fn time(later: &str) -> String {
    let mut date = Command::new("date");
    date.args(["--utc", "+%Y-%m-%dT%H:%M:%SZ", "--date", later]);
    must(&mut date).stdout.trim().to_owned()
}

/// A restart of the console, signed by `who`, for `node`.
fn sign(site: &Site<'_>, who: &str, node: &str, good_for: &str) -> String {
    let words = ["sign", "--node", node, "--for", good_for, "init", "restart", "unit=console"];
    let output = site.people.owner.ask(who, &words);
    assert_eq!(output.status, Some(0), "{}", output.stderr);
    output.stdout.trim().to_owned()
}

/// Dora delivers the command, and it is run.
fn runs(site: &Site<'_>, command: &str) {
    let logged = ["anna", site.people.key("anna"), "init restart", "allowed, signed"];
    site.restarts_console(|| {
        site.logged(&logged, || drop(site.may("dora", &["gate", "run", command])));
    });
}

/// Dora delivers the command, and it is refused.
fn runs_not(site: &Site<'_>, command: &str, why: &str) {
    let before = site.console();
    site.logged(&["a signed command from", "refused", why], || {
        site.may_not("dora", &["gate", "run", command], why);
    });
    assert_eq!(site.console(), before);
}

/// A command is run once, on its target, before its expiry, and if its signer is authorized.
/// Returns a command that was run and has not expired.
pub fn at_most_once(site: &Site<'_>) -> String {
    let here = |who, good_for| sign(site, who, &site.node, good_for);
    let (good, soon_late, early) = (here("anna", "12h"), here("anna", "10m"), here("anna", "40h"));
    // The gate's time is not trusted yet: every command is refused.
    runs_not(site, &good, "the time is not trusted");
    let now = time("now");
    site.may_not("dora", &["gate", "trust-time", &now], "needs `own`");
    runs_not(site, &good, "the time is not trusted");
    site.may("anna", &["gate", "trust-time", &now]);
    runs(site, &good);
    runs_not(site, &good, "this command was run before");

    // Signed by an operator who lacks the permission, by a stranger, and by a former operator.
    runs_not(site, &here("dora", "12h"), "needs `operate`");
    for who in ["eve", "carl"] {
        runs_not(site, &here(who, "12h"), "is not an operator of this box");
    }
    // For another box; and the same with this box as its target.
    let other = site.people.key("eve");
    let elsewhere = sign(site, "anna", other, "12h");
    runs_not(site, &elsewhere, &format!("the command is for {other}"));
    let mut bytes = URL_SAFE_NO_PAD.decode(&elsewhere).unwrap();
    let key = |text: &str| *text.parse::<PublicKey>().unwrap().as_bytes();
    assert_eq!(bytes[TARGET], key(other));
    bytes[TARGET].copy_from_slice(&key(&site.node));
    let retargeted = URL_SAFE_NO_PAD.encode(bytes);
    runs_not(site, &retargeted, "not signed by the operator that it names");

    runs_not(site, &early, "expires more than 24 hours ahead");
    // An hour later one command has expired, and another one has not.
    site.may("anna", &["gate", "trust-time", &time("1 hour")]);
    runs_not(site, &soon_late, "the command has expired");
    runs(site, &here("anna", "12h"));
    good
}

/// After a power cut the time is not trusted any more.
pub fn after_a_cut(site: &Site<'_>, spent: &str) {
    let new = sign(site, "anna", &site.node, "12h");
    runs_not(site, &new, "the time is not trusted");
    site.may("anna", &["gate", "trust-time", &time("1 hour")]);
    runs(site, &new);
    runs_not(site, spent, "this command was run before");
}
