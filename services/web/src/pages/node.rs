//! A node: what its PID 1 reports, and its units.

use maud::{Markup, html};
use octet_control::{INIT, STATUS, Verb};
use serde_json::{Map, Value};

use super::home::FACE;
use super::{Page, button, error};
use crate::answer::{answer, value_text};
use crate::app::App;
use crate::nodes::HOME;
use crate::oled;
use crate::session::Token;
use crate::text::clean;

/// The unit that knows the boards, and its verbs for a board.
const CLUSTER: &str = octet_control::CLUSTER;
const BOARD_VERBS: [&str; 2] = ["drain", "undrain"];

pub fn page(app: &App, number: u8, form: &Token) -> Page {
    let content = match app.nodes.read(number, INIT, STATUS, Value::Null) {
        Ok(found) => {
            learn_number(app, number, &found.end);
            let verbs = app.nodes.describe(number, INIT).unwrap_or_default();
            let verb = Verb::find(&verbs, STATUS).ok();
            html! {
                h2 { "Status" }
                (facts(verb, &found.end))
                @if has_unit(&found.end, FACE) {
                    @if let Ok(display) = app.nodes.read(number, FACE, "display", Value::Null) {
                        (oled::section(&display.end))
                    }
                }
                h2 { "Units" }
                (units(number, &found.end))
            }
        }
        Err(why) => error(&why),
    };
    let content = html! {
        (content)
        @if number != HOME {
            h2 { "Scheduled units" }
            (board_buttons(app, number, form))
        }
    };
    Page::new(&app.nodes.name(number), &content)
}

/// Remembers which number the node at home has.
pub fn learn_number(app: &App, node: u8, status: &Value) {
    if node == HOME {
        let number = status["board"].as_u64().and_then(|number| number.try_into().ok());
        app.nodes.set_own_number(number);
    }
}

fn has_unit(status: &Value, name: &str) -> bool {
    status["units"].as_array().into_iter().flatten().any(|unit| unit["name"] == name)
}

/// Everything of `status` but its units.
fn facts(verb: Option<&Verb>, status: &Value) -> Markup {
    let fields = status.as_object().into_iter().flatten().filter(|(name, _)| *name != "units");
    let fields: Map<String, Value> =
        fields.map(|(name, value)| (name.clone(), value.clone())).collect();
    answer(verb, &fields.into())
}

/// The table of units, each with a link to its page.
pub fn units(number: u8, status: &Value) -> Markup {
    let units = status["units"].as_array().map(Vec::as_slice).unwrap_or_default();
    let plain = Verb::new(STATUS, octet_control::Permission::Read, "");
    let text = |unit: &Value, field: &str| value_text(&plain, field, &unit[field]);
    html! {
        div.wide {
            table {
                thead { tr { @for name in ["Unit", "State", "Reason", "Restarts"] { th scope="col" { (name) } } } }
                tbody {
                    @for unit in units {
                        @let name = unit["name"].as_str().unwrap_or_default();
                        tr {
                            th scope="row" {
                                // Only the name of a unit becomes part of a link.
                                @if crate::nodes::parse_unit(name).is_ok() {
                                    a href={ "/node/" (number) "/unit/" (name) } { (name) }
                                } @else { (clean(name)) }
                            }
                            td { (text(unit, "state")) } td { (text(unit, "reason")) } td { (text(unit, "restarts")) }
                        }
                    }
                }
            }
        }
    }
}

fn board_buttons(app: &App, number: u8, form: &Token) -> Markup {
    let verbs = match app.nodes.describe(HOME, CLUSTER) {
        Ok(verbs) => verbs,
        Err(why) => return error(&why),
    };
    let number = number.to_string();
    html! {
        @for name in BOARD_VERBS {
            @if let Some((verb, arg)) = Verb::find(&verbs, name).ok().and_then(|it| it.args.first().map(|arg| (it, arg))) {
                p { (clean(&verb.help)) "." }
                (button(app, form, HOME, (CLUSTER, name), &[(arg.name.as_str(), number.as_str())]))
            }
        }
    }
}
