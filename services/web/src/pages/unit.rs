//! A unit of a node: its state, its log, its metrics, and its verbs.

use maud::{Markup, html};
use octet_control::{INIT, LOGGER, LOGS, STATUS, Verb};
use serde_json::{Value, json};

use super::{Page, button, error};
use crate::answer::{answer, line_text, lines};
use crate::app::App;
use crate::figures::node_name;
use crate::nodes::parse_unit;
use crate::session::Token;
use crate::text::clean;

/// Verbs of PID 1 that have a button.
const UNIT_VERBS: [&str; 3] = ["restart", "stop", "start"];

const METRICS: &str = "metrics";

/// Lines of the log on the page.
const LOG_LINES: u64 = 100;

pub fn page(app: &App, number: u8, unit: &str, form: &Token) -> Page {
    if parse_unit(unit).is_err() {
        return Page::not_found();
    }
    let content = match app.nodes.describe(number, INIT) {
        Ok(of_init) => html! {
            p { a href={ "/node/" (number) } { (node_name(number)) } }
            (state(app, number, unit, &of_init))
            h2 { "Actions" }
            div.actions {
                @for verb in UNIT_VERBS {
                    @if Verb::find(&of_init, verb).is_ok() { (button(app, form, number, (INIT, verb), &[("unit", unit)])) }
                }
            }
            (verbs(app, number, unit))
            h2 { "Log" }
            (log(app, number, unit))
        },
        Err(why) => error(&why),
    };
    Page::new(&format!("{unit} on {}", node_name(number)), &content)
}

fn state(app: &App, number: u8, unit: &str, of_init: &[Verb]) -> Markup {
    match app.nodes.read(number, INIT, STATUS, Value::Null) {
        Ok(found) => {
            let mut units = found.end["units"].as_array().into_iter().flatten();
            match units.find(|it| it["name"] == unit) {
                Some(state) => answer(Verb::find(of_init, STATUS).ok(), state),
                None => html! { p { "This node has no such unit." } },
            }
        }
        Err(why) => error(&why),
    }
}

/// The verbs of the unit, and its metrics if it has that verb. Many units have no socket: then there is nothing to show.
fn verbs(app: &App, number: u8, unit: &str) -> Markup {
    let verbs = match app.nodes.describe(number, unit) {
        Ok(verbs) => verbs,
        Err(why) => return html! { h2 { "Verbs" } (error(&why)) },
    };
    html! {
        @if let Ok(verb) = Verb::find(&verbs, METRICS) {
            h2 { "Metrics" }
            @match app.nodes.read(number, unit, METRICS, Value::Null) {
                Ok(found) => (answer(Some(verb), &found.end)),
                Err(why) => (error(&why)),
            }
        }
        h2 { "Verbs" }
        div.wide {
            table {
                thead { tr { th scope="col" { "Verb" } th scope="col" { "Permission" } th scope="col" { "What it does" } } }
                tbody {
                    @for verb in verbs.iter().filter(|verb| !verb.internal) {
                        tr {
                            th scope="row" { (clean(&verb.name)) }
                            td { (verb.capability.name()) }
                            td { (clean(&verb.help)) }
                        }
                    }
                }
            }
        }
    }
}

fn log(app: &App, number: u8, unit: &str) -> Markup {
    let args = json!({ "unit": unit, "lines": LOG_LINES });
    match app.nodes.read(number, LOGGER, LOGS, args) {
        Ok(found) => {
            let batches = found.items.iter().chain([&found.end]);
            let all =
                batches.filter_map(|batch| batch["lines"].as_array()).flatten().map(line_text);
            lines(all.collect())
        }
        Err(why) => error(&why),
    }
}
