//! Whose updates are taken.

use minisign_verify::{PublicKey, Signature};
use octet_appliance::{Trust, UpdateKey};
use octet_bundle::{BundleHead, Manifest};

use crate::refusal::UpdateRefusal;

/// The manifest of `head`, if somebody has signed it whom the box trusts. Nothing of it is looked at
/// before that.
///
/// # Errors
/// Nobody has, or what is signed cannot be read.
pub fn check(head: &BundleHead, trust: &Trust) -> Result<Manifest, UpdateRefusal> {
    if trust.update_keys.is_empty() {
        return Err(UpdateRefusal::NoKeys);
    }
    let text = std::str::from_utf8(&head.signature).map_err(|_| UpdateRefusal::NoSignature)?;
    let signature = Signature::decode(text).map_err(|_| UpdateRefusal::NoSignature)?;
    let has_signed = |key: &UpdateKey| {
        let key = PublicKey::from_base64(key.as_str());
        // Only signatures of the digest: the older form takes all bytes as they are.
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
