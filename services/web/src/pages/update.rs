//! The slots of the box, the way back, and the installation of an update.

use maud::{Markup, html};
use octet_control::render::bytes;
use serde_json::Value;

use super::verbs::answers;
use super::{Page, button};
use crate::answer::answer;
use crate::app::App;
use crate::guard::INSTALL_PATH;
use crate::install::{InstallState, UPDATE};
use crate::nodes::HOME;
use crate::session::Token;
use crate::text::clean;

const TITLE: &str = "Update";

pub fn page(app: &App, form: &Token) -> Page {
    let state = app.installation.state();
    let may = |verb| app.permitted.may(&app.nodes, HOME, UPDATE, verb);
    let content = html! {
        p #live role="status" {}
        div #install data-live[state.is_running()] { (progress(&state)) }
        (answers(app, UPDATE, &["status"]))
        @if !state.is_running() {
            @if may("install") {
                h2 { "Install" }
                form method="post" action=(INSTALL_PATH) enctype="multipart/form-data" {
                    input type="hidden" name="token" value=(form.as_str());
                    input type="hidden" name="node" value=(HOME);
                    label for="file" { "The file that " code { "cargo image bundle" } " has made " }
                    input #file type="file" name="file" required;
                    button { "install" }
                }
            }
            @if may("rollback") {
                h2 { "Go back" }
                p { "The next boot uses the previous good slot." }
                (button(app, form, HOME, (UPDATE, "rollback"), &[]))
            }
        }
    };
    if state.is_running() { Page::reloading(TITLE, &content) } else { Page::new(TITLE, &content) }
}

/// How far the installation is, or how it has ended.
pub fn progress(state: &InstallState) -> Markup {
    match state {
        InstallState::Idle => html! {},
        InstallState::Receiving => html! { p { "Receiving the file from the browser…" } },
        InstallState::Sending { sent, size, notes } => html! {
            p {
                "Installing: the node has asked for " (bytes(*sent)) " of " (bytes(*size)) ". "
                progress value=(sent) max=(size) { (sent * 100 / size.max(&1)) " %" }
            }
            @if !notes.is_empty() { (answer(None, &Value::from(notes.clone()))) }
        },
        InstallState::Installed(value) => html! {
            p { strong { "installed: " (clean(value["slot"].as_str().unwrap_or("the update"))) } }
            (answer(None, value))
        },
        InstallState::Failed { message, help } => html! {
            div.alarm {
                p { strong { "failed: " (clean(message)) } }
                @if !help.is_empty() { p { "Help: " (clean(help)) } }
            }
        },
    }
}
