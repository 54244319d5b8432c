//! The verbs of this unit. No answer contains the password.

use octet_appliance::{Fingerprint, InvalidFingerprint};
use octet_node::control::file::FileArg;
use octet_node::control::{ColumnKind, Failure, FailureCode, Permission, Verb};
use octet_node::serve::threads::Verbs;
use octet_node::serve::verbs::{file, nothing, text};
use serde_json::{Value, json};

use crate::password::LONGEST;
use crate::work::{ChangeResult, RouterGoal, RouterService};

pub fn verbs() -> Verbs<RouterService> {
    let verb = Verb::new;
    let report_verb = |name, help| {
        Verb::new(name, Permission::Read, help).columns(ColumnKind::Lines, &["report"])
    };
    Verbs::default()
        .with(
            verb("login", Permission::Own, "Stores the password of the router's user `octet`"),
            text(
                "fingerprint",
                "sha256:… of the router's certificate, as `octetctl openwrt adopt` shows it",
            )
            .parse(fingerprint)
            .and(file("password", "A file whose first line is the password")),
            |work: &RouterService, call, (router, _): (Fingerprint, FileArg)| {
                let (peer, id) = (&mut *call.peer, call.id);
                work.login(router, || peer.read_file(id, LONGEST)).map(|()| Value::Null)
            },
        )
        .with(verb("logout", Permission::Own, "Deletes that password"), nothing(), |work, _, ()| {
            work.logout().map(|()| Value::Null)
        })
        .with(
            report_verb(
                "diff",
                "Lists conflicts, and what `apply` would add, change and delete on the router",
            ),
            nothing(),
            |work, _, ()| work.diff().map(report),
        )
        .with(
            verb(
                "apply",
                Permission::Own,
                "Applies the plan to the router, or leaves it unchanged",
            ),
            nothing(),
            |work, _, ()| change(work, RouterGoal::Plan),
        )
        .with(
            report_verb(
                "verify",
                "Lists the differences between router and plan; prints nothing if there are none",
            ),
            nothing(),
            |work, _, ()| work.verify().map(report),
        )
        .with(
            verb(
                "release",
                Permission::Own,
                "Removes everything of Octet from the router's configuration",
            ),
            nothing(),
            |work, _, ()| change(work, RouterGoal::Nothing),
        )
        .with_settings(RouterService::check, |_| Ok(()))
}

fn fingerprint(text: String) -> Result<Fingerprint, Failure> {
    text.parse().map_err(|error: InvalidFingerprint| {
        let help = "it is `fingerprint` of `router` in [cluster]; compare it with the router's own";
        Failure::new(FailureCode::BadArgument, error.to_string(), help)
    })
}

fn report(lines: Vec<String>) -> Value {
    json!({ "report": lines })
}

fn change(work: &RouterService, goal: RouterGoal) -> Result<Value, Failure> {
    let outcome = match work.change(goal)? {
        ChangeResult::Nothing => "nothing",
        ChangeResult::Applied => "applied",
    };
    Ok(json!({ "outcome": outcome }))
}
