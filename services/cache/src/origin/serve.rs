//! How a request to an origin is answered: from the store, with what arrives, or passed through.

use std::fmt::Display;
use std::sync::Arc;
use std::time::SystemTime;

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
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
use crate::http::{FileQueue, HttpClient, HttpResponse, ResponseBody, set_header, text_response};
use crate::objects::Object;

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
    /// The answer with a stored response that is fresh, if nothing has to be waited for.
    pub fn serve_at_hand(
        &self,
        origin: &Arc<CachedOrigin>,
        client: &HttpClient,
        head: &Parts,
    ) -> Option<HttpResponse> {
        let target = normalise(head.uri.path(), head.uri.query())?;
        let request = self.request(origin, Some(client.files.clone()), head, target);
        if request.bypass().is_some() {
            return None;
        }
        let now = SystemTime::now();
        let variants = self.rows.at_hand(&request.key)?;
        let believed = variants.iter().filter(|it| self.is_believed(it));
        let (stored, CacheUse::Fresh) = believed
            .map(|it| (it, request.use_of(it, now)))
            .find(|(_, use_of)| *use_of != CacheUse::Other)?
        else {
            return None;
        };
        let object = self.objects.at_hand(stored.hash()?, &self.counters)?;
        self.counters.http_requests.add(1);
        request.count(OriginOutcome::Hit);
        let status = format_args!("hit; ttl={}", request.ttl(stored, now));
        Some(request.object_answer(stored, object, status))
    }

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
        let request = self.request(&origin, client.map(|client| client.files), &head, target);
        match request.bypass() {
            Some(why) => self.pass(&request, why).await,
            None => self.cached(&request).await,
        }
    }

    fn request<'a>(
        &self,
        origin: &Arc<CachedOrigin>,
        files: Option<FileQueue>,
        head: &'a Parts,
        target: String,
    ) -> FrontRequest<'a> {
        let counters = Arc::clone(&self.counters);
        FrontRequest {
            key: key(origin, &target),
            origin: Arc::clone(origin),
            asked: CacheRequest { method: &head.method, fields: &head.headers, files, counters },
            target,
            up: origin.upward(&head.headers),
        }
    }

    /// What a node gave that is no member any more, is not believed.
    fn is_believed(&self, stored: &StoredResponse) -> bool {
        stored.from.is_none_or(|node| self.boards.is_member(&node))
    }

    async fn cached(self: &Arc<Self>, request: &FrontRequest<'_>) -> HttpResponse {
        let now = SystemTime::now();
        let fields = request.asked.fields;
        let variants = self.rows.get(&request.key).unwrap_or_else(|error| {
            say!("what is stored cannot be read: {error}");
            Arc::default()
        });
        let (mut stale, mut has_others) = (None, false);
        for stored in variants.iter() {
            if !self.is_believed(stored) {
                continue;
            }
            has_others = true;
            let use_of = request.use_of(stored, now);
            match use_of {
                CacheUse::Other => continue,
                CacheUse::Stale => stale = Some(stored.clone()),
                CacheUse::Fresh | CacheUse::Revalidating => {
                    let status = format!("hit; ttl={}", request.ttl(stored, now));
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
        match self.objects.find(stored.hash()?, &self.counters).await {
            Ok(object) => Some(request.object_answer(stored, object?, status)),
            Err(error) => {
                say!("a stored response cannot be read: {error}");
                None
            }
        }
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
    fn use_of(&self, stored: &StoredResponse, now: SystemTime) -> CacheUse {
        stored.head.usable(&self.target, &self.up, now, self.origin.defaults)
    }

    fn object_answer(
        &self,
        stored: &StoredResponse,
        object: Object,
        status: impl Display,
    ) -> HttpResponse {
        let age = stored.head.age(&self.target, SystemTime::now()).as_secs();
        let body = ServedBody::Object(object.content, object.size);
        with_status(answer(&self.asked, &stored.head, body, age), status)
    }

    /// The parameter `ttl` of `Cache-Status` (RFC 9211, section 2.4).
    fn ttl(&self, stored: &StoredResponse, now: SystemTime) -> i64 {
        stored.head.freshness_left(&self.target, now)
    }

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
        with_status(text_response(failure.status, &failure.why), format_args!("fwd={forward}"))
    }

    fn count(&self, outcome: OriginOutcome) {
        self.asked.counters.origins.count(outcome);
    }
}

/// Adds to `Cache-Status`: the cache nearest to the client is the last one (RFC 9211, section 2).
fn with_status(mut response: HttpResponse, status: impl Display) -> HttpResponse {
    if let Ok(value) = HeaderValue::try_from(format!("octet; {status}")) {
        response.headers_mut().append(CACHE_STATUS, value);
    }
    response
}
