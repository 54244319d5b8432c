//! Names over HTTP: the current object of a name, cacheable while the name is certain to be valid.

use hyper::header::CACHE_CONTROL;
use hyper::{HeaderMap, Method, StatusCode};
use octet_appliance::NamePath;
use octet_node::control::PublicKey;

use super::{
    Gateway, HttpClient, HttpResponse, ObjectRequest, cross_site, media, no_disk, set_header,
    text_response,
};
use crate::names::{self, ResolveOrigin, Unresolved};

/// The maximum cache lifetime in seconds, so that a republished name is noticed.
const MAX_AGE: u64 = 60;

/// A request for the object of a name.
pub(super) struct NamedRequest<'a> {
    pub method: &'a Method,
    pub key: &'a str,
    pub path: &'a str,
    pub headers: HeaderMap,
}

impl Gateway {
    pub(super) async fn serve_name(
        &self,
        client: &HttpClient,
        asked: NamedRequest<'_>,
    ) -> HttpResponse {
        let NamedRequest { method, key, path, headers } = asked;
        let key = PublicKey::try_from(key.to_owned());
        let (Ok(node), Ok(path)) = (key, path.parse::<NamePath>()) else {
            let why = "a name is a node's key, which begins with did:key:, `/` and a path";
            return text_response(StatusCode::BAD_REQUEST, why);
        };
        let Some(state) = &self.state else { return no_disk() };
        let kind = media::kind(path.as_str());
        let resolved = match cross_site::is_cross_site(&headers) {
            true => state.names.known(node, path).await,
            false => state.names.resolve(node, path, ResolveOrigin::Client).await,
        };
        let record = match resolved {
            Ok(record) => record,
            Err(error) => return text_response(code(&error), &error.to_string()),
        };
        let hash = record.entry().hash.to_hex().to_string();
        let asked = ObjectRequest { method, hash: &hash, kind, headers };
        let mut response = self.serve_object(client, asked).await;
        // A name may change its object, and errors are never cached.
        if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
            let left = record.entry().expires.saturating_sub(names::now()).min(MAX_AGE);
            set_header(
                &mut response,
                CACHE_CONTROL,
                &format!("public, max-age={left}, must-revalidate"),
            );
        }
        response
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
