//! The answer to a client from a response that is stored, or arrives: conditions, ranges, `Age`.

use std::sync::Arc;

use hyper::header::{
    ACCEPT_RANGES, AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use hyper::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::coming::ComingResponse;
use super::stored::{ResponseHead, date};
use crate::counters::CacheCounters;
use crate::http::{
    BodyParts, ByteRange, ConditionResult, FileQueue, HttpResponse, RequestedRange, ResponseBody,
    evaluate, header_list, if_range_matches, parse_range, set_header, text_response,
};
use crate::objects::ObjectContent;

/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Where the body comes from.
pub enum ServedBody {
    Object(ObjectContent, u64),
    Coming(Arc<ComingResponse>),
}

/// What a client asks for.
pub struct CacheRequest<'a> {
    pub method: &'a Method,
    pub fields: &'a HeaderMap,
    pub files: Option<FileQueue>,
    pub counters: Arc<CacheCounters>,
}

/// Answers with `head`; `age` is in seconds.
pub fn answer(
    asked: &CacheRequest<'_>,
    head: &ResponseHead,
    body: ServedBody,
    age: u64,
) -> HttpResponse {
    let own = head.fields();
    let is_ok = head.status() == StatusCode::OK;
    if is_ok && is_not_modified(asked.fields, own) {
        return response(StatusCode::NOT_MODIFIED, own, age, ResponseBody::without_length());
    }
    let size = match &body {
        ServedBody::Object(_, size) => Some(*size),
        ServedBody::Coming(coming) => coming.length,
    };
    let range = header_list(asked.fields, &RANGE)
        .filter(|_| is_ok && *asked.method == Method::GET && if_range(asked.fields, own));
    let requested = match (range, size) {
        (Some(range), Some(size)) => parse_range(&range, size),
        _ => RequestedRange::Whole,
    };
    let kind =
        own.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or("application/octet-stream");
    let whole = ByteRange { start: 0, end: size.unwrap_or(u64::MAX) };
    let (status, parts) = match (requested, &body) {
        (RequestedRange::Nothing, _) => {
            let mut refused =
                text_response(StatusCode::RANGE_NOT_SATISFIABLE, "it has none of these bytes");
            set_header(&mut refused, CONTENT_RANGE, &format!("bytes */{}", whole.end));
            return refused;
        }
        (RequestedRange::Parts(spans), _) if spans.len() == 1 => {
            (StatusCode::PARTIAL_CONTENT, BodyParts::one(spans[0]))
        }
        // Of what still arrives several ranges are not made.
        (RequestedRange::Parts(spans), ServedBody::Object(_, size)) => {
            match BodyParts::several(&spans, *size, kind) {
                Ok(parts) => (StatusCode::PARTIAL_CONTENT, parts),
                Err(error) => {
                    return text_response(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
                }
            }
        }
        _ => (head.status(), BodyParts::one(whole)),
    };
    let (length, several, one) = (parts.length(), parts.kind.clone(), parts.single());
    let sent = match (&body, *asked.method == Method::HEAD) {
        (_, true) => ResponseBody::empty(),
        (ServedBody::Object(content, _), _) => {
            parts.body(content.clone(), asked.files.clone(), Arc::clone(&asked.counters))
        }
        (ServedBody::Coming(coming), _) => {
            coming.body(one.unwrap_or(whole), Arc::clone(&asked.counters))
        }
    };
    // hyper itself states the length of bytes.
    let is_stated = matches!(&sent, ResponseBody::Bytes(bytes) if !bytes.is_empty());
    let mut response = response(if is_ok { status } else { head.status() }, own, age, sent);
    if let Some(size) = size {
        if !is_stated {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if is_ok {
            response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        if let Some(span) = one.filter(|_| status == StatusCode::PARTIAL_CONTENT) {
            let range = format!("bytes {}-{}/{size}", span.start, span.end - 1);
            set_header(&mut response, CONTENT_RANGE, &range);
        }
    }
    if let Some(kind) = several {
        set_header(&mut response, CONTENT_TYPE, &kind);
    }
    response
}

fn response(status: StatusCode, own: &HeaderMap, age: u64, body: ResponseBody) -> HttpResponse {
    // `Age`, and those that follow.
    let mut fields = HeaderMap::with_capacity(own.len() + 4);
    fields.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    fields.insert(AGE, HeaderValue::from(age));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = fields;
    response
}

/// The entity tag without its quotation marks, and whether it is weak.
fn tag(own: &HeaderMap) -> Option<(&str, bool)> {
    let text = own.get(ETAG)?.to_str().ok()?;
    let (text, is_weak) = text.strip_prefix("W/").map_or((text, false), |rest| (rest, true));
    Some((text.strip_prefix('"')?.strip_suffix('"')?, is_weak))
}

/// RFC 9110, 13.2.2: the tag counts, and only without one the date.
fn is_not_modified(fields: &HeaderMap, own: &HeaderMap) -> bool {
    if let Some(list) = header_list(fields, &IF_NONE_MATCH) {
        let result = tag(own).map(|(tag, _)| evaluate(None, Some(&list), tag));
        return list.trim() == "*" || result == Some(ConditionResult::NotModified);
    }
    match (date(fields.get(IF_MODIFIED_SINCE)), date(own.get(LAST_MODIFIED))) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Whether `If-Range` permits a part: a date never does, because it may be weak.
fn if_range(fields: &HeaderMap, own: &HeaderMap) -> bool {
    let Some(field) = header_list(fields, &IF_RANGE) else { return true };
    tag(own).is_some_and(|(tag, is_weak)| !is_weak && if_range_matches(&field, tag))
}
