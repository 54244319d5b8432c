//! What config can be asked.

use std::sync::Arc;
use std::time::Duration;

use octet_appliance::Section;
use octet_node::control::file::CALLED;
use octet_node::control::settings::SECTION;
use octet_node::control::{Capability, ColumnKind, Failure, FailureCode, Verb};
use octet_node::serve::threads::Verbs;
use octet_node::serve::verbs::{
    Takes, file, flag, nothing, option, optional_integer, optional_text, text,
};
use serde_json::json;

use super::answer::{Config, bad};
use crate::copy::MAX_TEXT;
use crate::keeper::Readers;
use crate::settings::FILE;
use crate::store::Folder;

/// How long a change is tried without being confirmed, in seconds: unless said, at least, at most.
pub const CONFIRM: (u64, u64, u64) = (120, 10, 3600);

/// Every verb. An operator signs a change with the number of the next configuration.
pub fn verbs<F, R>() -> Verbs<Arc<Config<F, R>>>
where
    F: Folder + Send + 'static,
    R: Readers + 'static,
{
    use Capability::{Configure, Read};

    let next = |config: &Arc<Config<F, R>>| config.keeper.view().next_number;
    Verbs::default()
        .with(
            Verb::new(
                "show",
                Read,
                "Shows the settings that are in force, and where they are from",
            )
            .shown(ColumnKind::Lines, &["text"]),
            option("section", "One section only, with all that is not said")
                .parse(|name| name.map(named).transpose()),
            |config: &Arc<Config<F, R>>, _, section| config.show(section),
        )
        .with(
            Verb::new("diff", Read, "Shows what a file would change"),
            file("file", "A whole appliance.toml").and(called()),
            |config, call, (_, called)| {
                let bytes = call.peer.read_file(call.id, MAX_TEXT)?;
                config.diff(&config.parse(&called, bytes)?.0)
            },
        )
        .with(
            Verb::new(
                "apply",
                Configure,
                "Puts a file in force, until it is confirmed or undoes itself",
            )
            .shown(ColumnKind::Lines, &["new_keys", "warnings"]),
            file("file", "A whole appliance.toml").and(called()).and(confirm()),
            |config, call, ((file, called), confirm)| config.apply(call, (&file, &called), confirm),
        )
        .signed(next)
        .with(
            Verb::new("confirm", Configure, "Keeps the settings that were applied last"),
            nothing(),
            |config, call, ()| {
                let confirmed = config.keeper.confirm(call.by);
                confirmed.map(|sequence| json!({ "confirmed": sequence }))
            },
        )
        .with(
            Verb::new("history", Read, "Lists the settings that there were"),
            nothing(),
            |config, _, ()| config.history(),
        )
        .with(
            Verb::new(
                "rollback",
                Configure,
                "Takes back what was not confirmed, or goes back further",
            ),
            optional_text("to", "The number of a configuration; 0 is the image's own")
                .parse(|to| to.map(number).transpose())
                .and(confirm()),
            |config, call, (to, confirm)| config.rollback(call, to, confirm),
        )
        .signed(next)
        .with(
            Verb::new(SECTION, Read, "Gives a unit one of the sections that its unit file names"),
            text("section", "Its name")
                .parse(named)
                .and(flag("next", "As it is to be, for a unit that is asked about it")),
            |config, call, (section, next)| config.section(call.uid, section, next),
        )
}

/// What a person calls the file.
fn called() -> Takes<String> {
    option(CALLED, "What its errors call it; octetctl says its path")
        .parse(|name| Ok(name.unwrap_or_else(|| FILE.to_owned())))
}

/// How long a change is tried.
fn confirm() -> Takes<Duration> {
    let (usual, least, most) = CONFIRM;
    let help = format!(
        "Seconds until it undoes itself unless it is confirmed, {least} to {most}; {usual} if not given"
    );
    optional_integer("confirm", &help).parse(move |seconds| {
        let seconds = seconds.unwrap_or(usual);
        if (least..=most).contains(&seconds) {
            return Ok(Duration::from_secs(seconds));
        }
        Err(bad(&format!("`confirm` is {seconds}, and can be {least} to {most}")))
    })
}

fn number(text: String) -> Result<u64, Failure> {
    text.parse().map_err(|_| bad(&format!("`{text}` is no number of a configuration")))
}

fn named(name: String) -> Result<Section, Failure> {
    Section::named(&name).ok_or_else(|| {
        let known = Section::ALL.map(Section::name).join(", ");
        let message = format!("there is no section `{name}` that a box can be given");
        Failure::new(FailureCode::NotFound, message, format!("the sections are: {known}"))
    })
}
