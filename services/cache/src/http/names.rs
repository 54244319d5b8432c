//! Names over HTTP: the current object of a name, cacheable while the name is certain to be valid.

use hyper::header::CACHE_CONTROL;
use hyper::{HeaderMap, Method, StatusCode};
use octet_appliance::NamePath;
use octet_node::control::PublicKey;

use super::folders::FolderRequest;
use super::{
    Gateway, HttpClient, HttpResponse, ObjectRequest, cross_site, media, no_disk, set_header,
    text_response,
};
use crate::names::{self, NameRecord, ResolveOrigin, Unresolved};

/// The maximum cache lifetime in seconds, so that a republished name is noticed.
const MAX_AGE: u64 = 60;

/// A name, as it was asked for.
#[derive(Clone, Copy)]
pub(super) struct NameAsked<'a> {
    pub key: &'a str,
    pub path: &'a str,
}

/// A request for the object of a name.
pub(super) struct NamedRequest<'a> {
    pub method: &'a Method,
    pub at: NameAsked<'a>,
    pub headers: HeaderMap,
}

/// A request for what is at a path of the folder of a name.
pub(super) struct NamedFolderRequest<'a> {
    pub method: &'a Method,
    pub at: NameAsked<'a>,
    pub path: &'a str,
    pub headers: HeaderMap,
}

impl Gateway {
    pub(super) async fn serve_name(
        &self,
        client: &HttpClient,
        asked: NamedRequest<'_>,
    ) -> HttpResponse {
        let NamedRequest { method, at, headers } = asked;
        let record = match self.resolve(at, &headers).await {
            Ok(record) => record,
            Err(refused) => return *refused,
        };
        let hash = record.entry().hash.to_hex().to_string();
        let asked = ObjectRequest { method, hash: &hash, kind: media::kind(at.path), headers };
        let mut response = self.serve_object(client, asked).await;
        expire_with(&record, &mut response);
        response
    }

    /// Answers with a file of the folder that a name points to now.
    pub(super) async fn serve_named_folder(
        &self,
        client: &HttpClient,
        asked: NamedFolderRequest<'_>,
    ) -> HttpResponse {
        let NamedFolderRequest { method, at, path, headers } = asked;
        let record = match self.resolve(at, &headers).await {
            Ok(record) => record,
            Err(refused) => return *refused,
        };
        let hash = record.entry().hash.to_hex().to_string();
        let asked = FolderRequest { method, hash: &hash, path, headers };
        let mut response = self.serve_folder(client, asked).await;
        expire_with(&record, &mut response);
        response
    }

    /// The record of a name. For the page of another site no other node is asked.
    async fn resolve(
        &self,
        at: NameAsked<'_>,
        headers: &HeaderMap,
    ) -> Result<NameRecord, Box<HttpResponse>> {
        let key = PublicKey::try_from(at.key.to_owned());
        let (Ok(node), Ok(path)) = (key, at.path.parse::<NamePath>()) else {
            let why = "a name is a node's key, which begins with did:key:, `/` and a path";
            return Err(Box::new(text_response(StatusCode::BAD_REQUEST, why)));
        };
        let Some(state) = &self.state else { return Err(Box::new(no_disk())) };
        let resolved = match cross_site::is_cross_site(headers) {
            true => state.names.known(node, path).await,
            false => state.names.resolve(node, path, ResolveOrigin::Client).await,
        };
        resolved.map_err(|error| Box::new(text_response(code(&error), &error.to_string())))
    }
}

/// A name may change its object, so a response is cached for a moment, and as long as the name is valid. Errors are never
/// cached.
fn expire_with(record: &NameRecord, response: &mut HttpResponse) {
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        let left = record.entry().expires.saturating_sub(names::now()).min(MAX_AGE);
        let text = format!("public, max-age={left}, must-revalidate");
        set_header(response, CACHE_CONTROL, &text);
    }
}

fn code(error: &Unresolved) -> StatusCode {
    match error {
        Unresolved::Unknown => StatusCode::NOT_FOUND,
        Unresolved::Expired => StatusCode::GONE,
        Unresolved::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
        Unresolved::Busy | Unresolved::NoKey => StatusCode::SERVICE_UNAVAILABLE,
        Unresolved::Store(_) | Unresolved::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
