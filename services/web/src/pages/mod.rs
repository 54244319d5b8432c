//! The pages: each is a function that blocks and returns HTML that is complete without a script.

pub mod action;
pub mod home;
pub mod node;
pub mod segments;
pub mod unit;
pub mod update;
pub mod verbs;

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use maud::{DOCTYPE, Markup, html};
use octet_control::render::BOX_STYLE;

use crate::app::App;
use crate::nodes::{LAST_BOARD, NodeError};
use crate::session::Token;
use crate::text::clean;

pub const STYLE_PATH: &str = "/style.css";
pub const SCRIPT_PATH: &str = "/live.js";
pub const ICON_PATH: &str = "/icon.svg";

/// The icon of a page: a router with its boards.
pub const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><path fill=\"#2a7\" \
    d=\"M5 1h6v5H9v2h5v2h1v5h-4v-5h1V9H9v1h1v5H6v-5h1V9H4v1h1v5H1v-5h1V8h5V6H5z\"/></svg>";

/// The script: it replaces what has changed by what the server sends.
pub const SCRIPT: &str = include_str!("live.js");

/// Bytes of a form, but for the one with an update.
pub const MAX_FORM: usize = 16 << 10;

/// The stylesheet.
pub fn style() -> String {
    format!("{BOX_STYLE}\n{}", include_str!("style.css"))
}

/// The pages in the navigation.
const NAVIGATION: [(&str, &str); 7] = [
    ("/", "Box"),
    ("/segments", "Segments"),
    ("/cache", "Cache"),
    ("/paths", "Paths"),
    ("/accounts", "Accounts"),
    ("/messages", "Messages"),
    ("/update", "Update"),
];

/// A page with its status.
pub struct Page {
    pub status: StatusCode,
    html: String,
}

impl Page {
    pub fn new(title: &str, content: &Markup) -> Self {
        Self::with(StatusCode::OK, title, content)
    }

    pub fn with(status: StatusCode, title: &str, content: &Markup) -> Self {
        Self { status, html: layout(title, &html! {}, content) }
    }

    /// A page that is loaded again every two seconds by browsers without scripts.
    pub fn reloading(title: &str, content: &Markup) -> Self {
        let refresh = html! { noscript { meta http-equiv="refresh" content="2"; } };
        Self { status: StatusCode::OK, html: layout(title, &refresh, content) }
    }

    pub fn refused(status: StatusCode, title: &str, why: &str) -> Self {
        Self::with(status, title, &html! { p { (clean(why)) } })
    }

    pub fn not_found() -> Self {
        let content = html! { p { "There is no such page. " a href="/" { "The box" } } };
        Self::with(StatusCode::NOT_FOUND, "Not found", &content)
    }

    pub fn too_large() -> Self {
        let why = format!("A form has at most {} KiB.", MAX_FORM >> 10);
        Self::refused(StatusCode::PAYLOAD_TOO_LARGE, "Too large", &why)
    }

    /// For a browser without a session.
    pub fn no_session() -> Self {
        let content = html! {
            p { "This page needs a link from " code { "octetctl web" } ": a session ends after 30 minutes without a request." }
            p { "In the terminal where it runs, press Enter for a new link, and open that within five minutes." }
            p { "If you have just opened a link, " a href="/" { "continue here" } "." }
        };
        Self::with(StatusCode::FORBIDDEN, "No session", &content)
    }

    /// For a link that is not valid.
    pub fn no_link() -> Self {
        let content = html! {
            p { "This link was used already, is older than five minutes, or was replaced by a newer one." }
            p { "In the terminal where " code { "octetctl web" } " runs, press Enter for a new link." }
        };
        Self::with(StatusCode::FORBIDDEN, "The link is not valid", &content)
    }

    pub fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.html));
        *response.status_mut() = self.status;
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, html);
        response
    }
}

fn layout(title: &str, head: &Markup, content: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (clean(title)) " - Octet" }
                link rel="stylesheet" href=(STYLE_PATH);
                link rel="icon" href=(ICON_PATH) type="image/svg+xml";
                script src=(SCRIPT_PATH) defer {}
                (head)
            }
            body {
                header {
                    a.skip href="#main" { "Skip to the content" }
                    nav aria-label="Pages" {
                        ul { @for (path, name) in NAVIGATION { li { a href=(path) { (name) } } } }
                    }
                }
                main #main { h1 { (clean(title)) } (content) }
            }
        }
    };
    page.into_string()
}

/// Why a part of a page is missing.
pub fn error(error: &NodeError) -> Markup {
    html! {
        div.alarm {
            p { strong { (clean(&error.to_string())) } }
            @if !error.help().is_empty() { p { "Help: " (clean(error.help())) } }
        }
    }
}

/// A form with one button that calls a verb; nothing if the operator may not use it.
pub fn button(
    app: &App,
    form: &Token,
    node: u8,
    call: (&str, &str),
    args: &[(&str, &str)],
) -> Markup {
    let (unit, verb) = call;
    if !app.permitted.may(&app.nodes, node, unit, verb) {
        return html! {};
    }
    html! {
        form method="post" action="/do" {
            input type="hidden" name="token" value=(form.as_str());
            input type="hidden" name="node" value=(node);
            input type="hidden" name="unit" value=(unit);
            input type="hidden" name="verb" value=(verb);
            @for (name, value) in args { input type="hidden" name={ "arg." (name) } value=(value); }
            button { (verb) @for (_, value) in args { " " (clean(value)) } }
        }
    }
}

/// The number of a node in a path or a form.
pub fn node_number(text: &str) -> Option<u8> {
    let is_plain =
        text == "0" || !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && *number <= LAST_BOARD)
}

/// The value of `name` in a form or a query.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}
