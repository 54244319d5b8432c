//! How a request to an origin is answered: from the store, with what arrives, or passed through.

use std::sync::Arc;
use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use octet_node::say;

use super::answer::{CACHE_STATUS, CacheRequest, ServedBody, answer};
use super::cookies::{listed, without_domain};
use super::flight::FlightState;
use super::front::{CachedOrigin, OriginFront, key};
use super::stored::{CacheUse, ResponseHead, StoredResponse, directive};
use super::target::normalise;
use super::upstream::{UNVERIFIED_END, UpstreamFailure};
use crate::counters::OriginOutcome;
use crate::http::{HttpClient, HttpResponse, ResponseBody, set_header, text_response};

/// One request.
pub(super) struct FrontRequest<'a> {
    pub(super) origin: Arc<CachedOrigin>,
    asked: CacheRequest<'a>,
    pub(super) key: String,
    pub(super) target: String,
    /// The fields that go up: RFC 9111 looks at these only.
    pub(super) up: HeaderMap,
}

impl OriginFront {
    /// Answers a request to `origin` of a client, or of another board.
    pub async fn serve(
        self: &Arc<Self>,
        origin: Arc<CachedOrigin>,
        client: Option<HttpClient>,
        head: Parts,
    ) -> HttpResponse {
        self.counters.http_requests.add(1);
        if !matches!(head.method, Method::GET | Method::HEAD) {
            let why = "an origin is read by GET or HEAD through the cache";
            let mut refused = text_response(StatusCode::METHOD_NOT_ALLOWED, why);
            set_header(&mut refused, ALLOW, "GET,HEAD");
            return refused;
        }
        let Some(target) = normalise(head.uri.path(), head.uri.query()) else {
            return text_response(StatusCode::BAD_REQUEST, "a `%` is followed by two digits");
        };
        let up = origin.upward(&head.headers);
        let request = FrontRequest {
            key: key(&origin, &target),
            origin,
            asked: CacheRequest {
                method: &head.method,
                fields: &head.headers,
                files: client.map(|client| client.files),
                counters: Arc::clone(&self.counters),
            },
            target,
            up,
        };
        match request.bypass() {
            Some(why) => self.pass(&request, why).await,
            None => self.cached(&request).await,
        }
    }

    async fn cached(self: &Arc<Self>, request: &FrontRequest<'_>) -> HttpResponse {
        let now = SystemTime::now();
        let fields = request.asked.fields;
        let variants = self.rows.get(&request.key).unwrap_or_else(|error| {
            say!("what is stored cannot be read: {error}");
            Arc::default()
        });
        // What a node gave that is no member any more, is not believed.
        let is_believed =
            |it: &StoredResponse| it.from.is_none_or(|node| self.boards.is_member(&node));
        let (mut stale, mut has_others) = (None, false);
        for stored in variants.iter() {
            if !is_believed(stored) {
                continue;
            }
            has_others = true;
            let use_of =
                stored.head.usable(&request.target, &request.up, now, request.origin.defaults);
            match use_of {
                CacheUse::Other => continue,
                CacheUse::Stale => stale = Some(stored.clone()),
                CacheUse::Fresh | CacheUse::Revalidating => {
                    let status =
                        format!("hit; ttl={}", stored.head.freshness_left(&request.target, now));
                    if let Some(answer) = self.stored_answer(request, stored, &status).await {
                        if use_of == CacheUse::Revalidating {
                            request.count(OriginOutcome::Updating);
                            self.join(request, Some(stored.clone()));
                        } else {
                            request.count(OriginOutcome::Hit);
                        }
                        return answer;
                    }
                }
            }
            break;
        }
        if directive(fields, "only-if-cached").is_some() {
            let why = "it is not stored, or has to be validated";
            return with_status(
                text_response(StatusCode::GATEWAY_TIMEOUT, why),
                "detail=only-if-cached",
            );
        }
        let forward = match (&stale, has_others) {
            (Some(_), _) => "stale",
            (None, true) => "vary-miss",
            (None, false) => "uri-miss",
        };
        // A response without a body is stored nowhere.
        if *request.asked.method == Method::HEAD && stale.is_none() {
            return self.pass(request, forward).await;
        }
        let Some((mut state, first)) = self.join(request, stale.clone()) else {
            return self.pass(request, forward).await;
        };
        let collapsed = if first.is_none() { "; collapsed" } else { "" };
        let known =
            state.wait_for(|it| !matches!(it, FlightState::Waiting)).await.map(|it| it.clone());
        let is_other = |head: &ResponseHead| {
            let defaults = request.origin.defaults;
            head.usable(&request.target, &request.up, now, defaults) == CacheUse::Other
        };
        match known {
            Ok(FlightState::Coming(coming)) if !is_other(&coming.head) => {
                let age = coming.head.age(&request.target, now).as_secs();
                let head = coming.head.clone();
                let status = format!(
                    "fwd={forward}; fwd-status={}; stored{collapsed}",
                    head.status().as_u16()
                );
                let is_first = first.is_some();
                request.count(if is_first {
                    OriginOutcome::Miss
                } else {
                    OriginOutcome::Collapsed
                });
                with_status(answer(&request.asked, &head, ServedBody::Coming(coming), age), &status)
            }
            Ok(FlightState::Validated(stored)) if !is_other(&stored.head) => {
                let status = format!("fwd={forward}; fwd-status=304{collapsed}");
                match self.stored_answer(request, &stored, &status).await {
                    Some(answer) => {
                        request.count(OriginOutcome::Revalidated);
                        answer
                    }
                    None => self.pass(request, forward).await,
                }
            }
            Ok(FlightState::Failed(failure)) => {
                let usable = stale.filter(|it| {
                    it.head.is_usable_on_error(
                        &request.target,
                        SystemTime::now(),
                        request.origin.defaults,
                    )
                });
                let status = format!(
                    "fwd=stale; fwd-status={}; detail=stale-if-error",
                    failure.status.as_u16()
                );
                if let Some(stored) = usable
                    && let Some(answer) = self.stored_answer(request, &stored, &status).await
                {
                    request.count(OriginOutcome::Stale);
                    return answer;
                }
                match first {
                    Some(first) => match first.await {
                        Ok(response) => request.passed(response, forward),
                        Err(_) => request.failed(&failure, forward),
                    },
                    None => request.failed(&failure, forward),
                }
            }
            Ok(FlightState::Unshared) => match first {
                Some(first) => match first.await {
                    Ok(response) => request.passed(response, forward),
                    Err(_) => request.failed(&UpstreamFailure::ended(), forward),
                },
                None => self.pass(request, forward).await,
            },
            Ok(_) => self.pass(request, forward).await,
            Err(_) => request.failed(&UpstreamFailure::ended(), forward),
        }
    }

    /// The answer with a stored response; `None` if its object was evicted.
    async fn stored_answer(
        &self,
        request: &FrontRequest<'_>,
        stored: &StoredResponse,
        status: &str,
    ) -> Option<HttpResponse> {
        let object = match self.objects.find(stored.hash()?, &self.counters).await {
            Ok(object) => object?,
            Err(error) => {
                say!("a stored response cannot be read: {error}");
                return None;
            }
        };
        let age = stored.head.age(&request.target, SystemTime::now()).as_secs();
        let body = ServedBody::Object(object.content, object.size);
        Some(with_status(answer(&request.asked, &stored.head, body, age), status))
    }

    /// Passes the request through: nothing of it is stored.
    async fn pass(&self, request: &FrontRequest<'_>, forward: &str) -> HttpResponse {
        let mut up = request.up.clone();
        let own = [
            AUTHORIZATION,
            IF_MATCH,
            IF_MODIFIED_SINCE,
            IF_NONE_MATCH,
            IF_RANGE,
            IF_UNMODIFIED_SINCE,
            RANGE,
        ];
        for name in own {
            let values = request.asked.fields.get_all(&name).iter();
            up.extend(values.map(|value| (name.clone(), value.clone())));
        }
        if let Some(cookies) = listed(request.asked.fields, &request.origin.cookies) {
            up.insert(COOKIE, cookies);
        }
        match self.fetch(&request.origin, request.asked.method, &request.target, &up).await {
            Ok(answer) => request.passed(answer.response, forward),
            Err(failure) => request.failed(&failure, forward),
        }
    }
}

impl CachedOrigin {
    /// The fields of a request that go up if it is cached.
    fn upward(&self, fields: &HeaderMap) -> HeaderMap {
        let mut up = HeaderMap::new();
        for (name, value) in fields {
            let is_listed = self.headers.iter().any(|it| it == name.as_str());
            if is_listed || [CACHE_CONTROL, PRAGMA].contains(name) {
                up.append(name, value.clone());
            }
        }
        up
    }
}

impl FrontRequest<'_> {
    /// Why the cache is not used.
    fn bypass(&self) -> Option<&'static str> {
        let fields = self.asked.fields;
        let has = |name: &HeaderName| fields.contains_key(name);
        let is_own = has(&AUTHORIZATION) || listed(fields, &self.origin.cookies).is_some();
        if is_own || has(&IF_MATCH) || has(&IF_UNMODIFIED_SINCE) {
            return Some("bypass");
        }
        directive(fields, "no-store").map(|_| "request")
    }

    /// An answer with a response that is for nobody else.
    fn passed(&self, response: Response<Incoming>, forward: &str) -> HttpResponse {
        let mut response = response.map(ResponseBody::Incoming);
        without_domain(response.headers_mut());
        // Another board's cache has to know it, too.
        if self.asked.files.is_some() {
            response.headers_mut().remove(UNVERIFIED_END);
        }
        let status = format!("fwd={forward}; fwd-status={}", response.status().as_u16());
        self.count(OriginOutcome::Bypass);
        with_status(response, &status)
    }

    fn failed(&self, failure: &UpstreamFailure, forward: &str) -> HttpResponse {
        self.count(OriginOutcome::Failed);
        with_status(text_response(failure.status, &failure.why), &format!("fwd={forward}"))
    }

    fn count(&self, outcome: OriginOutcome) {
        self.asked.counters.origins.count(outcome);
    }
}

/// Adds to `Cache-Status`: the cache nearest to the client is the last one (RFC 9211, section 2).
fn with_status(mut response: HttpResponse, status: &str) -> HttpResponse {
    if let Ok(value) = format!("octet; {status}").parse() {
        response.headers_mut().append(CACHE_STATUS, value);
    }
    response
}
