//! Verifies the signatures of updates.

use minisign_verify::{PublicKey, Signature};
use octet_appliance::{Trust, UpdateKey};
use octet_bundle::{BundleHead, Manifest};

use crate::refusal::UpdateRefusal;

/// The manifest of `head`, if a trusted key has signed it. It is parsed only after that check.
///
/// # Errors
/// No trusted key has signed it, or it cannot be parsed.
pub fn check(head: &BundleHead, trust: &Trust) -> Result<Manifest, UpdateRefusal> {
    if trust.update_keys.is_empty() {
        return Err(UpdateRefusal::NoKeys);
    }
    let text = std::str::from_utf8(&head.signature).map_err(|_| UpdateRefusal::NoSignature)?;
    let signature = Signature::decode(text).map_err(|_| UpdateRefusal::NoSignature)?;
    let has_signed = |key: &UpdateKey| {
        let key = PublicKey::from_base64(key.as_str());
        // Only pre-hashed signatures are accepted: the older form signs the raw bytes.
        key.is_ok_and(|key| key.verify(&head.manifest, &signature, false).is_ok())
    };
    if trust.revoked.iter().any(has_signed) {
        return Err(UpdateRefusal::Revoked);
    }
    if !trust.update_keys.iter().any(has_signed) {
        return Err(UpdateRefusal::Untrusted);
    }
    Ok(Manifest::parse(&head.manifest)?)
}
