//! Uploads over HTTP, with a token.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::unfold;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, LOCATION, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use tokio::time::timeout;

use super::{Gateway, HttpResponse, error_response, no_disk, set_header, text_response};
use crate::names::now;
use crate::objects::ObjectError;
use crate::policy::ObjectKind;

/// The timeout for each part of the body.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Gateway {
    /// Stores the body as an evictable object, and returns its location.
    pub(super) async fn put_object(&self, headers: &HeaderMap, body: Incoming) -> HttpResponse {
        self.counters.http_requests.add(1);
        let Some(state) = &self.state else { return no_disk() };
        let Some(token) = bearer(headers) else {
            let why = "objects are put with a token: Authorization: Bearer TOKEN";
            let mut response = text_response(StatusCode::UNAUTHORIZED, why);
            set_header(&mut response, WWW_AUTHENTICATE, "Bearer");
            return response;
        };
        let most = match state.tokens.check(token, now()) {
            Ok(most) => most,
            Err(refused) => return text_response(StatusCode::FORBIDDEN, &refused.to_string()),
        };
        let length = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        let Some(length) = length else {
            return text_response(
                StatusCode::LENGTH_REQUIRED,
                "say how long it is: Content-Length",
            );
        };
        if length > most {
            let why =
                format!("with this token an object may have {most} bytes, and it has {length}");
            return text_response(StatusCode::PAYLOAD_TOO_LARGE, &why);
        }
        let Ok(_place) = state.puts.try_acquire() else {
            let why = "as many objects as may be are being put: try again in a moment";
            return text_response(StatusCode::SERVICE_UNAVAILABLE, why);
        };
        let parts = unfold(body.into_data_stream(), |mut parts| async move {
            let part = match timeout(TIMEOUT, parts.next()).await {
                Ok(part) => part?.map_err(io::Error::other),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            Some((part, parts))
        });
        match state.objects.add(Some(length), parts, ObjectKind::Put).await {
            Ok(listed) => {
                let path = format!("/b/{}", listed.hash.to_hex());
                let mut response = text_response(StatusCode::CREATED, &path);
                set_header(&mut response, LOCATION, &path);
                response
            }
            Err(ObjectError::Broken(why)) => {
                let why = format!("the object did not come to its end, or cannot be kept: {why}");
                text_response(StatusCode::INTERNAL_SERVER_ERROR, &why)
            }
            Err(full) => error_response(&full.into()),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
