//! An invite: one line of text, or a QR code, for first contact.

use data_encoding::BASE32_NOPAD;
use octet_node::bytes::Fields;
use octet_node::control::PublicKey;
use sha2::{Digest, Sha256};

use crate::mailbox_address::{self, MailboxAddress};

/// The prefix of the line.
const SCHEME: &str = "OCTET-MSG:";

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The number of checksum bytes that detect typing errors.
const CHECK: usize = 4;

const LONGEST: usize = 512;

/// A person's name key and mailboxes. It is neither secret nor signed: another name refers to
/// another person, and other mailboxes can only fail, because the card that is found there is
/// signed.
///
/// Its encoding: version (1 byte, 1), the name (32), the [mailboxes](MailboxAddress), and the first
/// 4 bytes of the SHA-256 of all that. As text it is `OCTET-MSG:` and base32 without padding: a QR
/// code's alphanumeric mode, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    pub name: PublicKey,
    pub places: Vec<MailboxAddress>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not an invite, or not a whole one: give the line that `octet-msg invite` prints, {SCHEME}…"
)]
pub struct InvalidInvite;

impl std::fmt::Display for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(self.name.as_bytes());
        mailbox_address::encode(&self.places, &mut bytes);
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..CHECK]);
        write!(f, "{SCHEME}{}", BASE32_NOPAD.encode(&bytes))
    }
}

impl std::str::FromStr for Invite {
    type Err = InvalidInvite;

    fn from_str(text: &str) -> Result<Self, InvalidInvite> {
        if text.len() > LONGEST {
            return Err(InvalidInvite);
        }
        let text = text.trim().to_ascii_uppercase();
        let encoded = text.strip_prefix(SCHEME).ok_or(InvalidInvite)?;
        let bytes = BASE32_NOPAD.decode(encoded.as_bytes()).map_err(|_| InvalidInvite)?;
        parse(&bytes).ok_or(InvalidInvite)
    }
}

fn parse(bytes: &[u8]) -> Option<Invite> {
    let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
    Sha256::digest(body).starts_with(check).then_some(())?;
    let mut fields = Fields(body);
    let version = fields.u8()?;
    let (name, places) = (fields.key()?, mailbox_address::decode(&mut fields)?);
    let whole = version == VERSION && fields.0.is_empty() && !places.is_empty();
    whole.then_some(Invite { name, places })
}
