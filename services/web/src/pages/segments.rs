//! Who may reach whom: a matrix of zones, the rules of a pair, and which rule decides a flow.

use maud::{Markup, html};
use octet_control::Verb;
use serde_json::{Value, json};

use super::{Page, error, field};
use crate::answer::{answer, line_text, lines};
use crate::app::App;
use crate::nodes::{HOME, NodeError};
use crate::plan::{PlanRule, PlanZone, zones};
use crate::text::clean;

const NETD: &str = "netd";

/// Without the kind of a flow, the page asks for this one.
const EXAMPLE_FLOW: &str = "tcp/443";

/// The pair of zones that a request names: as a link in the matrix, or by the form.
fn pair(query: &[(String, String)]) -> Option<(PlanZone, PlanZone)> {
    if let Some(cell) = field(query, "c") {
        let (from, to) = cell.split_once('.')?;
        return Some((PlanZone::from_short(from)?, PlanZone::from_short(to)?));
    }
    Some((field(query, "from")?.parse().ok()?, field(query, "to")?.parse().ok()?))
}

pub fn page(app: &App, query: &[(String, String)]) -> Page {
    let content = match plan(app) {
        Ok(plan) => {
            let rules: Vec<PlanRule> =
                plan.iter().filter_map(|line| PlanRule::parse(line)).collect();
            match pair(query) {
                Some((from, to)) => {
                    of_pair(app, &rules, from, to, field(query, "what").unwrap_or(EXAMPLE_FLOW))
                }
                None => html! { (matrix(&rules, &zones(&plan))) h2 { "The plan" } (lines(plan)) },
            }
        }
        Err(why) if why.is_missing() => html! { p { "This box has no unit " code { (NETD) } "." } },
        Err(why) => error(&why),
    };
    Page::new("Segments", &content)
}

fn plan(app: &App) -> Result<Vec<String>, NodeError> {
    let found = app.nodes.read(HOME, NETD, "plan", Value::Null)?;
    Ok(found.end["plan"].as_array().into_iter().flatten().map(line_text).collect())
}

fn matrix(rules: &[PlanRule], zones: &[PlanZone]) -> Markup {
    let count = |from, to| rules.iter().filter(|rule| rule.is_about(from, to)).count();
    let short = |zone: PlanZone| match zone {
        PlanZone::Board(number) => number.to_string(),
        zone => zone.to_string(),
    };
    html! {
        p {
            "A row sends, a column receives. A number is how many rules of the plan name both. Follow it to see them, and which one decides."
        }
        div.wide {
            table.matrix {
                caption { "Boards have their numbers" }
                thead { tr { th scope="col" { "From" } @for to in zones { th scope="col" { (short(*to)) } } } }
                tbody {
                    @for from in zones {
                        tr {
                            th scope="row" { (short(*from)) }
                            @for to in zones {
                                td { @if from == to { "-" } @else {
                                    a href={ "?c=" (from.short()) "." (to.short()) } { (count(*from, *to)) }
                                } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn of_pair(app: &App, rules: &[PlanRule], from: PlanZone, to: PlanZone, what: &str) -> Markup {
    let about: Vec<&PlanRule> = rules.iter().filter(|rule| rule.is_about(from, to)).collect();
    html! {
        p { a href="/segments" { "All segments" } }
        h2 { "From " (from) " to " (to) }
        @if about.is_empty() { p { "No rule of the plan names both." } }
        @else { (lines(about.iter().map(|rule| rule.line.clone()).collect())) }
        h2 { "Which rule decides?" }
        form method="get" action="/segments" {
            input type="hidden" name="from" value=(from);
            input type="hidden" name="to" value=(to);
            label for="what" { "Flow: tcp/PORT, udp/PORT, icmp, mpls-in-ip or proto/NUMBER " }
            input #what name="what" value=(clean(what));
            button { "Explain" }
        }
        (explain(app, from, to, what))
    }
}

fn explain(app: &App, from: PlanZone, to: PlanZone, what: &str) -> Markup {
    let args = json!({ "from": from.to_string(), "to": to.to_string(), "what": what });
    match app.nodes.read(HOME, NETD, "explain", args) {
        Ok(found) => {
            let verbs = app.nodes.describe(HOME, NETD).unwrap_or_default();
            html! {
                p { "A flow " code { (clean(what)) } " from " (from) " to " (to) ":" }
                (answer(Verb::find(&verbs, "explain").ok(), &found.end))
            }
        }
        Err(why) => error(&why),
    }
}
