//! A unit of a node: its state, its log, its metrics, and its verbs.

use maud::{Markup, html};
use octet_control::{INIT, LOGGER, LOGS, STATUS, UNITS, Verb};
use serde_json::{Value, json};

use super::node::learn_number;
use super::{Page, button, error};
use crate::answer::{answer, line_text, lines};
use crate::app::App;
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
    let status = match app.nodes.read(number, INIT, STATUS, Value::Null) {
        Ok(status) => status.end,
        Err(why) => return Page::new(unit, &error(&why)),
    };
    learn_number(app, number, &status);
    let of_init = app.nodes.describe(number, INIT).unwrap_or_default();
    let node = app.nodes.name(number);
    let content = html! {
        p { a href={ "/node/" (number) } { (node) } }
        (state(&status, unit, &of_init))
        h2 { "Actions" }
        div.actions {
            @for verb in UNIT_VERBS {
                @if Verb::find(&of_init, verb).is_ok() { (button(app, form, number, (INIT, verb), &[("unit", unit)])) }
            }
        }
        h2 { "Log" }
        (log(app, number, unit))
        (verbs(app, number, unit))
    };
    Page::new(&format!("{unit} on {node}"), &content)
}

fn state(status: &Value, unit: &str, of_init: &[Verb]) -> Markup {
    let mut units = status["units"].as_array().into_iter().flatten();
    match units.find(|it| it["name"] == unit) {
        Some(state) => answer(Verb::find(of_init, STATUS).ok(), state),
        None => html! { p { "This node has no such unit." } },
    }
}

/// Whether the unit answers calls, as PID 1 lists it; if PID 1 does not say, it is tried.
fn has_verbs(app: &App, number: u8, unit: &str) -> bool {
    let listed = app.nodes.read(number, INIT, UNITS, Value::Null).map(|answer| answer.end);
    let is_listed = |units: &Vec<Value>| units.iter().any(|it| it["name"] == unit);
    listed.ok().as_ref().and_then(Value::as_array).is_none_or(is_listed)
}

/// The verbs of the unit, and its metrics if it has that verb.
fn verbs(app: &App, number: u8, unit: &str) -> Markup {
    if !has_verbs(app, number, unit) {
        return html! { h2 { "Verbs" } p { "This unit has no verbs." } };
    }
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
        div.wide tabindex="0" {
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
