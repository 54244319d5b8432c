//! What a form has asked for: the verb is looked up in the unit's own description, and called if this server permits it.

use axum::http::StatusCode;
use maud::{Markup, html};
use octet_control::{ArgKind, Permission, Verb};
use serde_json::{Map, Value};

use super::{Page, error, field, node_number};
use crate::answer::answer;
use crate::app::App;
use crate::nodes::{NodeError, Repeat};
use crate::session::{Token, is_form_token};
use crate::text::clean;

/// The permissions that a verb may need to be called from a page; changes of settings and of permissions are for
/// `octetctl`.
const PERMITTED: [Permission; 3] = [Permission::Read, Permission::Operate, Permission::Update];

/// The prefix of fields that are arguments of the verb.
const ARG: &str = "arg.";

/// Whether the form's token is that of the session.
pub fn has_token(fields: &[(String, String)], form: &Token) -> bool {
    field(fields, "token").is_some_and(|token| is_form_token(form, token))
}

/// A form that does not belong to a page of this session.
pub fn wrong_token() -> Page {
    let why = "The form does not belong to this session. Nothing was done: load the page again.";
    Page::refused(StatusCode::FORBIDDEN, "Another session", why)
}

pub fn page(app: &App, fields: &[(String, String)], form: &Token) -> Page {
    if !has_token(fields, form) {
        return wrong_token();
    }
    let named = |name| field(fields, name).filter(|value| !value.is_empty());
    let (Some(node), Some(unit), Some(name)) =
        (named("node").and_then(node_number), named("unit"), named("verb"))
    else {
        return Page::refused(
            StatusCode::BAD_REQUEST,
            "Incomplete",
            "A form names a node, a unit and a verb.",
        );
    };
    let verb = match find(app, node, unit, name) {
        Ok(verb) => verb,
        Err(why) => return failed(app, node, name, &why),
    };
    if verb.internal || !PERMITTED.contains(&verb.capability) {
        let why = format!(
            "`{name}` of `{unit}` needs the permission `{}`, which pages do not use. Call it with octetctl: octetctl --box BOX {unit} {name}",
            verb.capability.name()
        );
        return Page::refused(StatusCode::FORBIDDEN, "Not from a page", &why);
    }
    let args = match arguments(&verb, fields) {
        Ok(args) => args,
        Err(why) => return Page::refused(StatusCode::BAD_REQUEST, "Wrong argument", &why),
    };
    match app.nodes.call(node, unit, name, args.into(), Repeat::Never) {
        Ok(found) => {
            let content = html! {
                p { "Done: " code { (clean(unit)) " " (clean(name)) } " on " (app.nodes.name(node)) "." }
                @if !found.items.is_empty() { (answer(Some(&verb), &found.items.into())) }
                (answer(Some(&verb), &found.end))
                (back(app, node))
            };
            Page::new(&format!("{name}: done"), &content)
        }
        Err(why) => failed(app, node, name, &why),
    }
}

fn find(app: &App, node: u8, unit: &str, name: &str) -> Result<Verb, NodeError> {
    let verbs = app.nodes.describe(node, unit)?;
    let found = Verb::find(&verbs, name).cloned();
    found.map_err(|failure| octet_control::CallError::from(failure).into())
}

/// The arguments of the form, each with the type that the verb wants.
fn arguments(verb: &Verb, fields: &[(String, String)]) -> Result<Map<String, Value>, String> {
    let mut args = Map::new();
    for (name, value) in
        fields.iter().filter_map(|(name, value)| Some((name.strip_prefix(ARG)?, value)))
    {
        let arg = verb.args.iter().find(|arg| arg.name == name);
        let arg = arg.ok_or_else(|| format!("`{}` takes no argument `{name}`.", verb.name))?;
        let value = match arg.kind {
            ArgKind::Text | ArgKind::Option => Value::from(value.as_str()),
            ArgKind::Integer => value
                .parse::<u64>()
                .map(Value::from)
                .map_err(|_| format!("`{name}` is a whole number."))?,
            ArgKind::Flag => Value::from(value == "true"),
            ArgKind::File => return Err(format!("`{name}` is a file: call it with octetctl.")),
        };
        args.insert(name.to_owned(), value);
    }
    Ok(args)
}

fn failed(app: &App, node: u8, name: &str, why: &NodeError) -> Page {
    let content = html! { (error(why)) (back(app, node)) };
    let status = match why {
        NodeError::NoAnswer { .. } => StatusCode::BAD_GATEWAY,
        NodeError::Failed { .. } => StatusCode::CONFLICT,
    };
    Page::with(status, &format!("{name}: failed"), &content)
}

fn back(app: &App, node: u8) -> Markup {
    html! { p { a href={ "/node/" (node) } { (app.nodes.name(node)) } " " a href="/" { "The box" } } }
}
