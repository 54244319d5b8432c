//! Names over HTTP: the current object of a name, cacheable while the name is certain to be valid.

use axum::extract::{Extension, Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use octet_appliance::NamePath;
use octet_node::control::PublicKey;

use super::{Gateway, HttpClient, cross_site, media, serve_object, set_header, text_response};
use crate::names::{self, ResolveOrigin, Unresolved};

/// The maximum cache lifetime in seconds, so that a republished name is noticed.
const MAX_AGE: u64 = 60;

pub(super) async fn serve_name(
    State(gateway): State<Gateway>,
    Extension(client): Extension<HttpClient>,
    method: Method,
    Path((key, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let (Ok(node), Ok(path)) = (PublicKey::try_from(key), path.parse::<NamePath>()) else {
        let why = "a name is a node's key, which begins with did:key:, `/` and a path";
        return text_response(StatusCode::BAD_REQUEST, why);
    };
    let Some(state) = &gateway.state else {
        let why = "this node has no disk to keep objects on: ask another one";
        return text_response(StatusCode::SERVICE_UNAVAILABLE, why);
    };
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
    let mut response = serve_object(&gateway, &client, &method, &hash, kind, &headers).await;
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

fn code(error: &Unresolved) -> StatusCode {
    match error {
        Unresolved::Unknown => StatusCode::NOT_FOUND,
        Unresolved::Expired => StatusCode::GONE,
        Unresolved::Silent(_) => StatusCode::GATEWAY_TIMEOUT,
        Unresolved::Busy | Unresolved::NoKey => StatusCode::SERVICE_UNAVAILABLE,
        Unresolved::Store(_) | Unresolved::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
