//! The files of folders over HTTP.

use std::fmt::Write;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode};

use super::{
    Gateway, HttpClient, HttpResponse, IMMUTABLE, ObjectRequest, cross_site, error_response, media,
    no_disk, parse, text_response,
};
use crate::folder::FolderEntry;
use crate::folders::{FolderAsked, FolderError};

/// A request for what is at a path of a folder.
pub(super) struct FolderRequest<'a> {
    pub method: &'a Method,
    pub hash: &'a str,
    pub path: &'a str,
    pub headers: HeaderMap,
}

impl Gateway {
    /// Answers with a file of a folder as with any object, and with a list of what is in a folder if the settings say so.
    pub(super) async fn serve_folder(
        &self,
        client: &HttpClient,
        asked: FolderRequest<'_>,
    ) -> HttpResponse {
        let FolderRequest { method, hash, path, headers } = asked;
        let Some(hash) = parse(hash) else {
            let why = "a hash is 64 digits, of 0 to 9 and a to f";
            return text_response(StatusCode::BAD_REQUEST, why);
        };
        let Some(state) = &self.state else { return no_disk() };
        let by = match cross_site::is_cross_site(&headers) {
            true => FolderAsked::Local,
            false => FolderAsked::Client(client.address),
        };
        let stored = match state.folder(hash, by, &self.counters).await {
            Ok(stored) => stored,
            Err(FolderError::Missing(missing)) => return error_response(&missing),
            Err(FolderError::Store(error)) => return error_response(&error.into()),
            Err(invalid @ FolderError::Invalid(..)) => {
                return text_response(StatusCode::NOT_FOUND, &invalid.to_string());
            }
        };
        match stored.folder.find(path) {
            Some(FolderEntry::File(file)) => {
                let file = file.to_hex().to_string();
                let kind = media::kind(path);
                let asked = ObjectRequest { method, hash: &file, kind, headers };
                let mut response = self.serve_object(client, asked).await;
                self.share(&hash, &mut response);
                response
            }
            Some(FolderEntry::Folder(names)) if state.folders.has_index() => index(&names),
            Some(FolderEntry::Folder(_)) => {
                let why =
                    "this node does not list what is in a folder (`folder_index` in `[cache]`)";
                text_response(StatusCode::FORBIDDEN, why)
            }
            None => text_response(
                StatusCode::NOT_FOUND,
                "the folder has nothing at this path; that of a folder ends with `/`",
            ),
        }
    }
}

/// A page with a link to each of `names`. It never changes, because a folder does not.
fn index(names: &[String]) -> HttpResponse {
    let mut page = String::from("<!doctype html>\n<meta charset=\"utf-8\">\n<ul>\n");
    for name in names {
        let mut link = String::from("./");
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                    link.push(char::from(byte));
                }
                _ => {
                    // Writing to a string never fails.
                    let _ = write!(link, "%{byte:02X}");
                }
            }
        }
        let text = name.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(page, "<li><a href=\"{link}\">{text}</a>");
    }
    page.push_str("</ul>");
    let mut response = text_response(StatusCode::OK, &page);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, IMMUTABLE);
    response
}
