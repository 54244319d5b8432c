//! Package URLs (ECMA-427) in their canonical form.

use packageurl::PackageUrl;

/// The URL of `name` in `version`, for example `pkg:deb/debian/libc6@2.36-9?arch=amd64`. `kind` is
/// one of purl-spec's types.
pub fn purl(
    kind: &'static str,
    namespace: Option<&str>,
    name: &str,
    version: &str,
    qualifiers: &[(&'static str, String)],
) -> Option<String> {
    let mut url = PackageUrl::new(kind, name).ok()?;
    if let Some(namespace) = namespace {
        url.with_namespace(namespace).ok()?;
    }
    url.with_version(version).ok()?;
    for (key, value) in qualifiers {
        url.add_qualifier(*key, value.as_str()).ok()?;
    }
    Some(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualifiers_are_in_order_and_signs_are_escaped() {
        let qualifiers = [("upstream", "gmp".to_owned()), ("arch", "amd64".to_owned())];
        assert_eq!(
            purl("deb", Some("debian"), "libgmp10", "2:6.2.1+dfsg1-1.1", &qualifiers).unwrap(),
            "pkg:deb/debian/libgmp10@2:6.2.1%2Bdfsg1-1.1?arch=amd64&upstream=gmp"
        );
        assert_eq!(purl("cargo", None, "iroh", "1.4.1", &[]).unwrap(), "pkg:cargo/iroh@1.4.1");
        assert_eq!(purl("cargo", None, "iroh", "1.4.1", &[("no key", String::new())]), None);
    }
}
