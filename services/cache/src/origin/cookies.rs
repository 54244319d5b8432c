//! Cookies: which go up, and what comes back.

use hyper::header::{COOKIE, SET_COOKIE};
use hyper::http::{HeaderMap, HeaderValue};

/// The listed cookies of a request, as one field; `None` if it has none of them.
pub fn listed(fields: &HeaderMap, names: &[String]) -> Option<HeaderValue> {
    let pairs: Vec<&str> = fields
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(str::trim)
        .filter(|pair| {
            let name = pair.split_once('=').map_or("", |(name, _)| name.trim());
            names.iter().any(|listed| listed == name)
        })
        .collect();
    if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
}

/// Takes `Domain` out of `Set-Cookie`: a cookie is for the host of its origin only, and not for all names of the box.
pub fn without_domain(fields: &mut HeaderMap) {
    let all: Vec<HeaderValue> = fields.get_all(SET_COOKIE).iter().cloned().collect();
    fields.remove(SET_COOKIE);
    for value in all {
        // What is not text cannot be read, so nobody knows for whom it is.
        let Ok(text) = value.to_str() else { continue };
        let mut parts = text.split(';');
        let mut kept = vec![parts.next().unwrap_or_default()];
        let is_domain = |part: &&str| {
            let name = part.split_once('=').map_or(*part, |(name, _)| name);
            name.trim().eq_ignore_ascii_case("domain")
        };
        kept.extend(parts.filter(|part| !is_domain(part)));
        if let Ok(value) = HeaderValue::from_str(&kept.join(";")) {
            fields.append(SET_COOKIE, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_ones() {
        let mut fields = HeaderMap::new();
        fields.append(COOKIE, HeaderValue::from_static("a=1; b=2;c=3; ab=4"));
        fields.append(COOKIE, HeaderValue::from_static("a=5"));
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
            listed(&fields, &names).map(|it| it.to_str().unwrap().to_owned())
        };
        assert_eq!(of(&["a"]).as_deref(), Some("a=1; a=5"));
        assert_eq!(of(&["c", "b"]).as_deref(), Some("b=2; c=3"));
        assert_eq!(of(&["A", "d"]), None);
    }

    #[test]
    fn no_domain() {
        let mut fields = HeaderMap::new();
        for text in
            ["a=1; Domain=octet.internal; Path=/", "b=2;domain=x", "domain=3; DOMAIN; Secure"]
        {
            fields.append(SET_COOKIE, HeaderValue::from_static(text));
        }
        without_domain(&mut fields);
        let all: Vec<_> = fields.get_all(SET_COOKIE).iter().collect();
        assert_eq!(all, ["a=1; Path=/", "b=2", "domain=3; Secure"]);
    }
}
