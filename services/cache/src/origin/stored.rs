//! A stored response: its head, and the hash of its body; and when it may be used (RFC 9111, RFC 5861).

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use hyper::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, PRAGMA, SET_COOKIE,
    TRANSFER_ENCODING, VARY,
};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use iroh_blobs::Hash;
use serde::{Deserialize, Serialize};

/// How long a stale response may be used, in seconds (RFC 5861), if the response does not say it.
#[derive(Debug, Clone, Copy, Default)]
pub struct StaleDefaults {
    pub if_error: u64,
    pub while_revalidate: u64,
}

/// The head of a response, and what it was asked with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResponseHead {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    /// The request's fields that `Vary` names.
    request: Vec<(String, Vec<u8>)>,
    /// When it came, in milliseconds since 1970.
    came: u64,
    /// What follows from it, as soon as it was needed. A head is for one target.
    #[serde(skip)]
    parsed: OnceLock<HeaderMap>,
    #[serde(skip)]
    lifetime: OnceLock<HeadLifetime>,
}

/// How long a response may be used.
#[derive(Debug, Clone)]
struct HeadLifetime {
    policy: CachePolicy,
    /// In seconds, without its age.
    fresh: u64,
    /// The age that it had when it came, in seconds.
    age: u64,
    /// How long it was fresh for from then on.
    left: Duration,
    /// Whether it is for a request of which no field goes up.
    is_for_plain: bool,
}

/// A response whose body is an object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredResponse {
    pub head: ResponseHead,
    hash: String,
    pub size: u64,
    /// The node of the box that it is from, if this one has not fetched it.
    pub from: Option<[u8; 32]>,
}

/// What to do with a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheUse {
    /// It is for another request (`Vary`).
    Other,
    /// It may be used at once.
    Fresh,
    /// It may be used, and is to be validated meanwhile.
    Revalidating,
    /// It has to be validated first.
    Stale,
}

impl ResponseHead {
    /// `request` are the fields that went up.
    pub fn new(
        status: StatusCode,
        fields: &HeaderMap,
        request: &HeaderMap,
        now: SystemTime,
    ) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let varied = names(fields, &VARY);
        let mut selected = request.clone();
        let others: Vec<HeaderName> = request
            .keys()
            .filter(|it| !varied.iter().any(|name| name == it.as_str()))
            .cloned()
            .collect();
        others.iter().for_each(|name| drop(selected.remove(name)));
        let mut fields = fields.clone();
        fields.remove(CONTENT_LENGTH);
        Self {
            status: status.as_u16(),
            fields: list(&fields),
            request: list(&selected),
            came: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            parsed: OnceLock::new(),
            lifetime: OnceLock::new(),
        }
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    pub fn fields(&self) -> &HeaderMap {
        self.parsed.get_or_init(|| map(&self.fields))
    }

    fn came(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.came)
    }

    fn policy(&self, target: &str) -> &CachePolicy {
        &self.lifetime(target).policy
    }

    fn lifetime(&self, target: &str) -> &HeadLifetime {
        self.lifetime.get_or_init(|| self.find_lifetime(target))
    }

    fn find_lifetime(&self, target: &str) -> HeadLifetime {
        // The age that the response has at least by its date (RFC 9111, 4.2.3).
        let fields = self.fields();
        let said = fields.get(AGE).and_then(|it| it.to_str().ok()?.parse().ok());
        let by_date = date(fields.get(DATE)).and_then(|date| self.came().duration_since(date).ok());
        let age = said.unwrap_or(0).max(by_date.unwrap_or_default().as_secs());
        let fresh = self.policy_of_age(target, 0).time_to_live(self.came()).as_secs();
        let policy = self.policy_of_age(target, age);
        let plain = policy.before_request(&policy_request(target, &HeaderMap::new()), self.came());
        HeadLifetime {
            fresh,
            age,
            left: policy.time_to_live(self.came()),
            is_for_plain: !matches!(plain, BeforeRequest::Stale { matches: false, .. }),
            policy,
        }
    }

    /// How long it is here.
    fn resident(&self, now: SystemTime) -> Duration {
        now.duration_since(self.came()).unwrap_or_default()
    }

    /// The policy if the response had this age in seconds when it came.
    fn policy_of_age(&self, target: &str, age: u64) -> CachePolicy {
        let mut response = Response::new(());
        *response.status_mut() = self.status();
        *response.headers_mut() = self.fields().clone();
        response.headers_mut().insert(AGE, HeaderValue::from(age));
        let request = policy_request(target, &map(&self.request));
        CachePolicy::new_options(&request, &response, self.came(), CacheOptions::default())
    }

    /// Whether it may be stored: RFC 9111, section 3, and never with `Set-Cookie` or `Vary: *`.
    pub fn is_storable(&self, target: &str, defaults: StaleDefaults) -> bool {
        let (fields, policy) = (self.fields(), self.policy(target));
        let is_private =
            fields.contains_key(SET_COOKIE) || names(fields, &VARY).iter().any(|it| it == "*");
        let is_useful = policy.time_to_live(self.came()) > Duration::ZERO
            || fields.contains_key(ETAG)
            || fields.contains_key(LAST_MODIFIED)
            || self.window("stale-if-error", defaults.if_error) > 0;
        !is_private && is_useful && policy.is_storable()
    }

    pub fn age(&self, target: &str, now: SystemTime) -> Duration {
        Duration::from_secs(self.lifetime(target).age) + self.resident(now)
    }

    /// The freshness that is left, in seconds; negative if it is stale.
    pub fn freshness_left(&self, target: &str, now: SystemTime) -> i64 {
        let seconds = |it: u64| i64::try_from(it).unwrap_or(i64::MAX);
        seconds(self.lifetime(target).fresh) - seconds(self.age(target, now).as_secs())
    }

    /// How it may be used for a request with these fields.
    pub fn usable(
        &self,
        target: &str,
        fields: &HeaderMap,
        now: SystemTime,
        defaults: StaleDefaults,
    ) -> CacheUse {
        let HeadLifetime { policy, left, is_for_plain, .. } = self.lifetime(target);
        // The policy would say the same, and makes a whole response for it. Nearly all requests are this one.
        if fields.is_empty() && *is_for_plain && *left > self.resident(now) {
            return CacheUse::Fresh;
        }
        match policy.before_request(&policy_request(target, fields), now) {
            BeforeRequest::Fresh(_) if !policy.is_stale(now) || self.may_be_stale() => {
                CacheUse::Fresh
            }
            BeforeRequest::Stale { matches: false, .. } => CacheUse::Other,
            _ if policy.is_stale(now)
                && !asks_for_fresh(fields)
                && self.is_within(
                    "stale-while-revalidate",
                    defaults.while_revalidate,
                    target,
                    now,
                ) =>
            {
                CacheUse::Revalidating
            }
            _ => CacheUse::Stale,
        }
    }

    /// Whether it may be used because the origin fails.
    pub fn is_usable_on_error(
        &self,
        target: &str,
        now: SystemTime,
        defaults: StaleDefaults,
    ) -> bool {
        self.is_within("stale-if-error", defaults.if_error, target, now)
    }

    fn is_within(&self, directive: &str, default: u64, target: &str, now: SystemTime) -> bool {
        let window = i64::try_from(self.window(directive, default)).unwrap_or(i64::MAX);
        window > 0 && self.may_be_stale() && -self.freshness_left(target, now) <= window
    }

    fn window(&self, directive: &str, default: u64) -> u64 {
        self.directive(directive).map_or(default, |value| value.parse().unwrap_or(0))
    }

    /// RFC 9111, 4.2.4: these directives forbid any use without validation.
    fn may_be_stale(&self) -> bool {
        let forbids = ["no-cache", "must-revalidate", "proxy-revalidate", "s-maxage"];
        !forbids.iter().any(|it| self.directive(it).is_some())
    }

    fn directive(&self, name: &str) -> Option<String> {
        directive(self.fields(), name)
    }

    /// The fields of a request that validates it.
    pub fn validators(&self) -> HeaderMap {
        let (fields, mut validators) = (self.fields(), HeaderMap::new());
        for (from, to) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = fields.get(from) {
                validators.insert(to, value.clone());
            }
        }
        validators
    }

    /// The same with the fields of a 304 (RFC 9111, 3.2); `None` if that is about another version.
    pub fn updated(&self, by: &HeaderMap, request: &HeaderMap, now: SystemTime) -> Option<Self> {
        let mut fields = self.fields().clone();
        let opaque = |fields: &HeaderMap| {
            let tag = fields.get(ETAG)?.to_str().ok()?;
            Some(tag.strip_prefix("W/").unwrap_or(tag).to_owned())
        };
        let (own, new) = (opaque(&fields), opaque(by));
        if new.is_some() && own != new {
            return None;
        }
        // The age begins anew, also if the origin says none.
        fields.remove(AGE);
        const STAY: [HeaderName; 6] = [
            CONTENT_LENGTH,
            CONTENT_ENCODING,
            CONTENT_TYPE,
            CONTENT_RANGE,
            TRANSFER_ENCODING,
            CONNECTION,
        ];
        let changed: Vec<HeaderName> = by.keys().filter(|it| !STAY.contains(it)).cloned().collect();
        for name in changed {
            fields.remove(&name);
            fields.extend(by.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
        }
        Some(Self::new(self.status(), &fields, request, now))
    }
}

impl StoredResponse {
    pub fn new(head: ResponseHead, hash: Hash, size: u64, from: Option<[u8; 32]>) -> Self {
        Self { head, hash: hash.to_hex().to_string(), size, from }
    }

    /// The same body with another head.
    pub fn with_head(&self, head: ResponseHead) -> Self {
        Self { head, ..self.clone() }
    }

    pub fn hash(&self) -> Option<Hash> {
        crate::http::parse(&self.hash)
    }
}

/// A request for the stored responses of `target`; of a HEAD, too.
fn policy_request(target: &str, fields: &HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = target.parse().unwrap_or_default();
    *request.headers_mut() = fields.clone();
    request
}

/// Whether the client wants more than a response that may be stale.
fn asks_for_fresh(fields: &HeaderMap) -> bool {
    let wants = ["no-cache", "max-age", "min-fresh"];
    let pragma = fields.get(PRAGMA).is_some_and(|it| it.as_bytes().starts_with(b"no-cache"));
    pragma || wants.iter().any(|it| directive(fields, it).is_some())
}

/// The value of a directive of `Cache-Control`; empty if it has none.
pub fn directive(fields: &HeaderMap, name: &str) -> Option<String> {
    let values = fields.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// A date of HTTP.
pub fn date(value: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?.to_str().ok()?).ok()
}

fn names(fields: &HeaderMap, field: &HeaderName) -> Vec<String> {
    let values = fields.get_all(field).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

fn list(fields: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    fields
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

fn map(list: &[(String, Vec<u8>)]) -> HeaderMap {
    let field = |(name, value): &(String, Vec<u8>)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
    };
    // Extending appends (`FromIterator` would replace).
    let mut fields = HeaderMap::new();
    fields.extend(list.iter().filter_map(field));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TARGET: &str = "/a?b";

    fn fields(list: &[(&'static str, String)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, String)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        let mut fields = HeaderMap::new();
        fields.extend(list.iter().map(field));
        fields
    }

    proptest! {
        /// What is said without the policy is what it says.
        #[test]
        fn plain_requests_are_as_the_policy_has_it(
            control in prop::sample::select(vec![
                "", "max-age=10", "max-age=0", "s-maxage=5", "no-cache", "must-revalidate, max-age=7",
                "no-store", "max-age=10, stale-while-revalidate=4", "public", "proxy-revalidate, max-age=9",
            ]),
            vary in prop::option::of(prop::sample::select(vec!["accept", "*", "accept, x-other"])),
            age in prop::option::of(0..12_u64),
            dates in prop::option::of((0..20_u64, 0..20_u64)),
            accept in any::<bool>(),
            waited in 0..15_000_u64,
            is_back in any::<bool>(),
        ) {
            let came = UNIX_EPOCH + Duration::from_millis(1_790_000_000_500);
            let date = |before: u64| httpdate::fmt_http_date(came - Duration::from_secs(before));
            let mut own = vec![("cache-control", control.to_owned())];
            own.extend(vary.map(|it| ("vary", it.to_owned())));
            own.extend(age.map(|it| ("age", it.to_string())));
            if let Some((sent, modified)) = dates {
                own.push(("date", date(sent)));
                own.push(("last-modified", date(sent + 100 * modified)));
            }
            let request = if accept { fields(&[("accept", "text/plain".to_owned())]) } else { HeaderMap::new() };
            let head = ResponseHead::new(StatusCode::OK, &fields(&own), &request, came);
            // A clock may go back.
            let waited = Duration::from_millis(waited);
            let now = if is_back { came - waited } else { came + waited };

            let policy = head.policy(TARGET);
            prop_assert_eq!(head.age(TARGET, now), policy.age(now));
            let plain = policy.before_request(&policy_request(TARGET, &HeaderMap::new()), now);
            let is_fresh = matches!(plain, BeforeRequest::Fresh(_));
            let use_of = head.usable(TARGET, &HeaderMap::new(), now, StaleDefaults::default());
            prop_assert_eq!(use_of == CacheUse::Fresh, is_fresh);
            let is_other = matches!(plain, BeforeRequest::Stale { matches: false, .. });
            prop_assert_eq!(use_of == CacheUse::Other, is_other);
        }
    }
}
