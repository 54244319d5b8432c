//! The self-signed certificate that the router makes at its first start (RFC 5280).

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const ECDSA_WITH_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const EC_PUBLIC_KEY: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const COMMON_NAME: &[u8] = &[6, 3, 0x55, 4, 3];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const BITS: u8 = 3;
const TEXT: u8 = 12;
const TIME: u8 = 23;

/// Encodes a value with its tag and length (DER).
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match u8::try_from(content.len()) {
        Ok(short @ ..0x80) => vec![short],
        Ok(long) => vec![0x81, long],
        // No part has more than 65535 bytes.
        Err(_) => [&[0x82][..], &u16::try_from(content.len()).unwrap_or(0).to_be_bytes()].concat(),
    };
    [&[tag][..], &length, &content].concat()
}

/// Generates a key, and a certificate for it.
pub(crate) fn make() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        .expect("the kernel gives chance");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
        .expect("it was just made");
    let algorithm = der(SEQUENCE, &[ECDSA_WITH_SHA256]);
    let name = der(SEQUENCE, &[COMMON_NAME, &der(TEXT, &[b"OpenWrt"])]);
    let name = der(SEQUENCE, &[&der(SET, &[&name])]);
    let times = [&b"200101000000Z"[..], b"491231235959Z"].map(|time| der(TIME, &[time]));
    let public = der(BITS, &[&[0], key.public_key().as_ref()]);
    let public = der(SEQUENCE, &[&der(SEQUENCE, &[EC_PUBLIC_KEY, P256]), &public]);
    let version = der(0xa0, &[&[2, 1, 2]]);
    let serial = &[2, 1, 1][..];
    let validity = der(SEQUENCE, &[&times[0], &times[1]]);
    let signed = der(SEQUENCE, &[&version, serial, &algorithm, &name, &validity, &name, &public]);
    let signature = key.sign(&random, &signed).expect("the kernel gives chance");
    let signature = der(BITS, &[&[0], signature.as_ref()]);
    let certificate = der(SEQUENCE, &[&signed, &algorithm, &signature]);
    (certificate.into(), PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()).into())
}
