//! The box: a drawing, the figures of each node, and the last day.

use maud::{Markup, PreEscaped, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, error, node};
use crate::app::App;
use crate::figures::{self, NodeHistory};
use crate::nodes::{HOME, NodeError};

/// The unit that knows the figures.
pub const FACE: &str = "face";

pub fn page(app: &App) -> Page {
    let content = match app.nodes.read(HOME, FACE, "show", Value::Null) {
        Ok(answer) => match figures::render(&answer.end) {
            Some((figures, fragments)) => {
                app.nodes.set_own_number(figures.number);
                html! {
                    @if let Some(role) = &figures.role { p { "Answered by: " (crate::text::clean(role)) "." } }
                    p { span #live role="status" {} " " span #changed {} }
                    div #drawing.wide tabindex="0" role="img" aria-label="The box as a drawing; the table has the same figures" { (PreEscaped(fragments.drawing)) }
                    h2 { "Nodes" }
                    div #figures { (PreEscaped(fragments.figures)) }
                    h2 { "History" }
                    (history(app))
                }
            }
            None => error(&not_figures()),
        },
        // An image without this unit.
        Err(why) if why.is_missing() => html! {
            p { "This box has no unit " code { "face" } ", so there are no figures of its other nodes." }
            (units(app))
        },
        Err(why) => error(&why),
    };
    Page::new("Box", &content)
}

fn not_figures() -> NodeError {
    NodeError::NoAnswer {
        message: "the unit `face` has answered something else than figures".to_owned(),
        help: "`octetctl face show` prints it".to_owned(),
    }
}

fn units(app: &App) -> Markup {
    match app.nodes.read(HOME, octet_control::INIT, octet_control::STATUS, Value::Null) {
        Ok(answer) => node::units(HOME, &answer.end),
        Err(why) => error(&why),
    }
}

fn history(app: &App) -> Markup {
    let quantity = |name: &str| -> Result<Vec<NodeHistory>, NodeError> {
        let answer = app.nodes.read(HOME, FACE, "history", json!({ "quantity": name }))?;
        let histories: Result<_, _> = answer.items.iter().map(NodeHistory::deserialize).collect();
        histories.map_err(|_| not_figures())
    };
    let all = quantity("cpu_percent")
        .and_then(|cpu| Ok((cpu, quantity("received_per_second")?, quantity("sent_per_second")?)));
    match all {
        Ok((cpu, received, sent)) => figures::history(&cpu, &received, &sent),
        Err(why) => error(&why),
    }
}
