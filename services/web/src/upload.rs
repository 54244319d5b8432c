//! The form with an update: its file goes into a file without a name, which nobody else can open and which is gone when the
//! server ends.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use multer::{Constraints, Multipart, SizeLimit};
use octet_control::render::bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::app::App;
use crate::guard::RequestSession;
use crate::install::install;
use crate::pages::{MAX_FORM, Page, action, node_number};

/// Fields before the file.
const MAX_FIELDS: usize = 4;

/// Bytes of the form around the file.
const FORM_FRAME: u64 = 1 << 20;

/// How long the browser may send nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// Why an upload was not taken.
enum UploadError {
    /// It is no such form.
    Form,
    Token,
    Busy,
    TooLarge(u64),
    /// The file cannot be kept here.
    Disk(io::Error),
}

impl UploadError {
    fn page(&self) -> Page {
        match self {
            Self::Form => {
                let why = "The form is incomplete: it names a node, and then has a file.";
                Page::refused(StatusCode::BAD_REQUEST, "Incomplete", why)
            }
            Self::Token => action::wrong_token(),
            Self::Busy => {
                let why =
                    "Another update is being installed; the page of updates shows how far it is.";
                Page::refused(StatusCode::CONFLICT, "Busy", why)
            }
            Self::TooLarge(_) => {
                Page::refused(StatusCode::PAYLOAD_TOO_LARGE, "Too large", &self.message())
            }
            Self::Disk(_) => {
                Page::refused(StatusCode::INSUFFICIENT_STORAGE, "No room", &self.message())
            }
        }
    }

    fn message(&self) -> String {
        match self {
            Self::TooLarge(max) => {
                format!("An update has at most {}. Nothing was installed.", bytes(*max))
            }
            Self::Disk(error) => {
                format!("The file cannot be kept on this machine: {error}. Nothing was installed.")
            }
            _ => "The browser did not send the whole file. Nothing was installed.".to_owned(),
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Self::Disk(error) if error.kind() == ErrorKind::StorageFull => {
                "make room, or set TMPDIR to a folder with room and start `octetctl web` again"
            }
            Self::Disk(_) => {
                "set TMPDIR to a folder that can be written, and start `octetctl web` again"
            }
            Self::TooLarge(_) => "choose the file that `cargo image bundle` has made",
            _ => "choose the file again",
        }
    }
}

/// Takes the form, and begins to install the file of at most `max` bytes.
pub async fn take(
    app: Arc<App>,
    session: RequestSession,
    headers: HeaderMap,
    body: Body,
    max: u64,
) -> Response {
    let (node, file) = match receive(&app, &session, &headers, body, max).await {
        Ok(received) => received,
        Err(why) => return why.page().into_response(),
    };
    // It goes on when the browser leaves.
    tokio::task::spawn_blocking(move || install(&app, node, file));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/update"));
    response
}

async fn receive(
    app: &App,
    session: &RequestSession,
    headers: &HeaderMap,
    body: Body,
    max: u64,
) -> Result<(u8, File), UploadError> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|_| UploadError::Form)?;
    // The file is counted below.
    let form = MAX_FORM as u64;
    let whole = max.saturating_add(FORM_FRAME);
    let sizes =
        SizeLimit::new().whole_stream(whole).for_field("token", form).for_field("node", form);
    let constraints =
        Constraints::new().allowed_fields(vec!["token", "node", "file"]).size_limit(sizes);
    let mut form = Multipart::with_constraints(body.into_data_stream(), boundary, constraints);
    let (mut fields, mut node) = (vec![], None);
    loop {
        let field = in_time(form.next_field()).await?.ok_or(UploadError::Form)?;
        match field.name().unwrap_or_default() {
            "file" => {
                if !action::has_token(&fields, &session.form) {
                    return Err(UploadError::Token);
                }
                let node = node.ok_or(UploadError::Form)?;
                if !app.installation.begin() {
                    return Err(UploadError::Busy);
                }
                // If the browser leaves, this function is not run to its end.
                let mut unfinished = Unfinished(Some(app));
                let kept = keep(field, max).await;
                unfinished.0 = None;
                if let Err(why) = &kept {
                    app.installation.fail(&why.message(), why.help());
                }
                return Ok((node, kept?));
            }
            name => {
                let name = name.to_owned();
                let text = in_time(field.text()).await?;
                if name == "node" {
                    node = node_number(&text);
                }
                fields.push((name, text));
                if fields.len() > MAX_FIELDS {
                    return Err(UploadError::Form);
                }
            }
        }
    }
}

/// What the browser sends next.
async fn in_time<T>(next: impl Future<Output = multer::Result<T>>) -> Result<T, UploadError> {
    let next = timeout(SILENCE, next).await.map_err(|_| UploadError::Form)?;
    next.map_err(|_| UploadError::Form)
}

struct Unfinished<'a>(Option<&'a App>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(app) = self.0 {
            app.installation.fail(&UploadError::Form.message(), UploadError::Form.help());
        }
    }
}

async fn keep(mut field: multer::Field<'_>, max: u64) -> Result<File, UploadError> {
    let file = tempfile::tempfile().map_err(UploadError::Disk)?;
    let (mut file, mut length) = (tokio::fs::File::from_std(file), 0);
    while let Some(piece) = in_time(field.chunk()).await? {
        length += piece.len() as u64;
        if length > max {
            return Err(UploadError::TooLarge(max));
        }
        file.write_all(&piece).await.map_err(UploadError::Disk)?;
    }
    file.flush().await.map_err(UploadError::Disk)?;
    if length == 0 { Err(UploadError::Form) } else { Ok(file.into_std().await) }
}
