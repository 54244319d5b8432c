//! The verbs of config.

use std::sync::Arc;
use std::time::Duration;

use octet_appliance::SettingsSection;
use octet_node::control::file::FILE_NAME;
use octet_node::control::settings::SECTIONS;
use octet_node::control::{ColumnKind, Failure, FailureCode, Permission, Verb};
use octet_node::serve::threads::Verbs;
use octet_node::serve::verbs::{
    VerbArgs, file, flag, nothing, option, optional_integer, optional_text,
};
use serde_json::json;

use super::answer::{Config, bad_argument};
use crate::copy::MAX_TEXT;
use crate::keeper::Readers;
use crate::settings::FILE;
use crate::store::Folder;

/// The time until an unconfirmed change is undone, in seconds: default, minimum, maximum.
pub const CONFIRM: (u64, u64, u64) = (120, 10, 3600);

/// All verbs. An operator signs a change with the number of the next configuration.
pub fn verbs<F, R>() -> Verbs<Arc<Config<F, R>>>
where
    F: Folder + Send + 'static,
    R: Readers + 'static,
{
    use Permission::{Configure, Read};

    let next = |config: &Arc<Config<F, R>>| config.keeper.view().next_sequence;
    Verbs::default()
        .with(
            Verb::new("show", Read, "Shows the active settings and their source")
                .columns(ColumnKind::Lines, &["text"]),
            option("section", "One section only, with the defaults filled in")
                .parse(|name| name.map(section_by_name).transpose()),
            |config: &Arc<Config<F, R>>, _, section| config.show(section),
        )
        .with(
            Verb::new("diff", Read, "Shows what a file would change, without applying it"),
            file("file", "A complete appliance.toml").and(file_name()),
            |config, call, (_, called)| {
                let bytes = call.peer.read_file(call.id, MAX_TEXT)?;
                config.diff(&config.parse(&called, bytes)?.0)
            },
        )
        .with(
            Verb::new(
                "apply",
                Configure,
                "Applies a file; it is rolled back unless `config confirm` follows in time",
            )
            .columns(ColumnKind::Lines, &["new_keys", "warnings"]),
            file("file", "A complete appliance.toml").and(file_name()).and(confirm()),
            |config, call, ((file, called), confirm)| config.apply(call, (&file, &called), confirm),
        )
        .signed(next)
        .with(
            Verb::new("confirm", Configure, "Confirms the settings that were applied last"),
            nothing(),
            |config, call, ()| {
                let confirmed = config.keeper.confirm(call.by);
                confirmed.map(|sequence| json!({ "confirmed": sequence }))
            },
        )
        .with(
            Verb::new("history", Read, "Lists the previous settings"),
            nothing(),
            |config, _, ()| config.history(),
        )
        .with(
            Verb::new(
                "rollback",
                Configure,
                "Rolls unconfirmed settings back, or applies previous ones again",
            ),
            optional_text("to", "A number of `config history`; 0 is the image's own")
                .parse(|to| to.map(number).transpose())
                .and(confirm()),
            |config, call, (to, confirm)| config.rollback(call, to, confirm),
        )
        .signed(next)
        .with(
            Verb::new(
                SECTIONS,
                Read,
                "Answers the sections of the settings that the unit file of the caller names",
            )
            .internal(),
            flag("next", "The candidate settings, which are being checked"),
            |config, call, next| config.sections(call.uid, next),
        )
}

/// The argument with the file's name.
fn file_name() -> VerbArgs<String> {
    option(FILE_NAME, "The file's name for error messages; octetctl sends its path")
        .parse(|name| Ok(name.unwrap_or_else(|| FILE.to_owned())))
}

/// The argument with the time until an unconfirmed change is undone.
fn confirm() -> VerbArgs<Duration> {
    let (usual, least, most) = CONFIRM;
    let help = format!(
        "Seconds until the roll-back unless it is confirmed, {least} to {most}; default {usual}"
    );
    optional_integer("confirm", &help).parse(move |seconds| {
        let seconds = seconds.unwrap_or(usual);
        if (least..=most).contains(&seconds) {
            return Ok(Duration::from_secs(seconds));
        }
        Err(bad_argument(&format!("`confirm` is {seconds}, and can be {least} to {most}")))
    })
}

fn number(text: String) -> Result<u64, Failure> {
    text.parse().map_err(|_| bad_argument(&format!("`{text}` is not a number of a configuration")))
}

fn section_by_name(name: String) -> Result<SettingsSection, Failure> {
    SettingsSection::from_name(&name).ok_or_else(|| {
        let known = SettingsSection::ALL.map(SettingsSection::name).join(", ");
        let message = format!("there is no section `{name}` that a box can be given");
        Failure::new(FailureCode::NotFound, message, format!("the sections are: {known}"))
    })
}
