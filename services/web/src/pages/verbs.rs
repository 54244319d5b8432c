//! Pages that show what some verbs of one unit answer.

use maud::{Markup, html};
use octet_control::Verb;
use serde_json::Value;

use super::{Page, error};
use crate::answer::answer;
use crate::app::App;
use crate::nodes::HOME;
use crate::text::clean;

/// A unit, and the verbs whose answers its page shows.
pub struct VerbPage {
    pub path: &'static str,
    title: &'static str,
    unit: &'static str,
    verbs: &'static [&'static str],
}

pub const VERB_PAGES: [VerbPage; 4] = [
    VerbPage { path: "/cache", title: "Cache", unit: "cache", verbs: &["stats", "ls"] },
    VerbPage {
        path: "/paths",
        title: "Paths",
        unit: "forward",
        verbs: &["status", "links", "paths", "traffic"],
    },
    VerbPage { path: "/accounts", title: "Accounts", unit: "accounts", verbs: &["show"] },
    VerbPage {
        path: "/messages",
        title: "Messages",
        unit: "messenger",
        verbs: &["status", "mailboxes", "alerts"],
    },
];

pub fn page(app: &App, page: &VerbPage) -> Page {
    Page::new(page.title, &answers(app, page.unit, page.verbs))
}

/// What `verbs` of the box's `unit` answer; those that it does not have are left out.
pub fn answers(app: &App, unit: &str, verbs: &[&str]) -> Markup {
    let described = match app.nodes.describe(HOME, unit) {
        Ok(described) => described,
        Err(why) if why.is_missing() => {
            return html! { p { "This box has no unit " code { (unit) } "." } };
        }
        Err(why) => return error(&why),
    };
    html! {
        @for verb in verbs.iter().filter_map(|name| Verb::find(&described, name).ok()) {
            h2 { (clean(&verb.name)) }
            p { (clean(&verb.help)) "." }
            @match app.nodes.read(HOME, unit, &verb.name, Value::Null) {
                Ok(found) => {
                    @if !found.items.is_empty() { (answer(Some(verb), &found.items.into())) }
                    (answer(Some(verb), &found.end))
                }
                Err(why) => (error(&why)),
            }
        }
    }
}
