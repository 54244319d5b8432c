//! Commands that are signed by an operator, so that others can deliver them: a messenger or a USB stick.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octet_control::{PublicKey, UnitName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bytes::{Fields, put_text};
use crate::key::{Domain, PrivateKey, SIGNATURE, verify};

/// The version of the encoding, its first byte.
const VERSION: u8 = 1;

/// The maximum size of the encoding, in bytes: as base64 it fits into a request.
const LONGEST: usize = 8 << 10;

/// The id of a command, which runs at most once.
pub type CommandId = [u8; 16];

/// The content of a command.
///
/// Its one encoding (numbers are big-endian): version (1 byte, 1), target (32), operator (32), id (16), expires
/// (8), the unit's name and the verb's (each 1 byte of length, then UTF-8), the arguments as JSON without
/// spaces up to the signature, and the operator's signature (64) over all before it, in the domain `octet
/// command 1`. As text that is base64 for URLs without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandBody {
    /// The node that executes it.
    pub target: PublicKey,
    pub operator: PublicKey,
    pub id: CommandId,
    /// The expiry, in seconds since 1970.
    pub expires: u64,
    pub unit: UnitName,
    pub verb: String,
    pub args: Map<String, Value>,
}

/// A command with the operator's signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Command {
    order: CommandBody,
    signature: [u8; SIGNATURE],
}

/// Why bytes are not a valid command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    #[error("this is not a command of version {VERSION}")]
    Malformed,
    #[error("the command is not signed by the operator that it names")]
    Forged,
    #[error("the command is longer than {LONGEST} bytes, or its verb than 255")]
    TooLong,
}

impl Command {
    /// Signs `order` with the operator's key.
    ///
    /// # Errors
    /// `operator` is not the key of the operator in the command, or the command is too long.
    pub fn sign(order: CommandBody, operator: &PrivateKey) -> Result<Self, InvalidCommand> {
        if operator.public() != order.operator {
            return Err(InvalidCommand::Forged);
        }
        let body = order.body();
        if order.verb.len() > u8::MAX.into() || body.len() + SIGNATURE > LONGEST {
            return Err(InvalidCommand::TooLong);
        }
        let signature = operator.sign(Domain::Command, &body);
        Ok(Self { order, signature })
    }

    /// The content. The caller must check the target, the operator's authorization, and the expiry.
    pub fn order(&self) -> &CommandBody {
        &self.order
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.order.body();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Decodes the command and verifies the signature.
    ///
    /// # Errors
    /// The bytes are malformed, or the signature is invalid.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCommand> {
        let (order, signature) = parse(bytes).ok_or(InvalidCommand::Malformed)?;
        let body = &bytes[..bytes.len() - SIGNATURE];
        if !verify(&order.operator, Domain::Command, body, &signature) {
            return Err(InvalidCommand::Forged);
        }
        Ok(Self { order, signature })
    }
}

impl CommandBody {
    fn body(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(self.operator.as_bytes());
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.expires.to_be_bytes());
        put_text(self.unit.as_str(), &mut out);
        put_text(&self.verb, &mut out);
        out.extend_from_slice(json(&self.args).as_bytes());
        out
    }
}

fn json(args: &Map<String, Value>) -> String {
    Value::Object(args.clone()).to_string()
}

fn parse(bytes: &[u8]) -> Option<(CommandBody, [u8; SIGNATURE])> {
    if bytes.len() > LONGEST {
        return None;
    }
    let mut fields = Fields(bytes);
    let [version] = fields.array()?;
    let (target, operator) = (fields.key()?, fields.key()?);
    let (id, expires) = (fields.array()?, fields.u64()?);
    let (unit, verb) = (fields.unit()?, fields.text()?.to_owned());
    let arguments = fields.take(fields.0.len().checked_sub(SIGNATURE)?)?;
    let signature = fields.array()?;
    let args: Map<String, Value> = serde_json::from_slice(arguments).ok()?;
    // The encoding is unique: no spaces, no duplicate names.
    let whole = version == VERSION && json(&args).as_bytes() == arguments;
    whole.then_some((CommandBody { target, operator, id, expires, unit, verb, args }, signature))
}

impl TryFrom<String> for Command {
    type Error = InvalidCommand;

    fn try_from(text: String) -> Result<Self, InvalidCommand> {
        Self::from_bytes(&URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCommand::Malformed)?)
    }
}

impl From<Command> for String {
    fn from(command: Command) -> String {
        URL_SAFE_NO_PAD.encode(command.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(operator: &PrivateKey) -> CommandBody {
        CommandBody {
            target: PrivateKey::generate().unwrap().public(),
            operator: operator.public(),
            id: [7; 16],
            expires: 1_800_000_000,
            unit: "init".parse().unwrap(),
            verb: "restart".into(),
            args: Map::from_iter([("unit".to_owned(), "cache".into())]),
        }
    }

    #[test]
    fn every_changed_bit_is_seen() {
        let operator = PrivateKey::generate().unwrap();
        let whole = Command::sign(order(&operator), &operator).unwrap();
        let bytes = whole.to_bytes();
        assert_eq!(Command::from_bytes(&bytes), Ok(whole.clone()));
        let text = String::from(whole.clone());
        assert!(!text.contains(['+', '/', '=']) && Command::try_from(text) == Ok(whole));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Command::from_bytes(&changed).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Command::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert!(Command::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
    }

    /// A valid signature does not make an ambiguous encoding acceptable.
    #[test]
    fn one_text_for_the_arguments() {
        let operator = PrivateKey::generate().unwrap();
        let body = order(&operator).body();
        let plain = br#"{"unit":"cache"}"#;
        let head = body.strip_suffix(plain).unwrap();
        let signed = |args: &[u8]| {
            let body = [head, args].concat();
            let signature = operator.sign(Domain::Command, &body);
            Command::from_bytes(&[&body[..], &signature].concat())
        };
        assert!(signed(plain).is_ok());
        for other in [
            &br#"{"unit":"cache" }"#[..],
            br#"{"unit":"logd","unit":"cache"}"#,
            br#"{"unit":"\u0063ache"}"#,
            br#"["unit","cache"]"#,
            b"",
        ] {
            assert_eq!(signed(other), Err(InvalidCommand::Malformed));
        }
    }

    #[test]
    fn what_cannot_be_carried_is_not_signed() {
        let operator = PrivateKey::generate().unwrap();
        let mut long = order(&operator);
        long.args.insert("text".into(), "x".repeat(LONGEST).into());
        assert_eq!(Command::sign(long, &operator), Err(InvalidCommand::TooLong));
        let mut long = order(&operator);
        long.verb = "x".repeat(256);
        assert_eq!(Command::sign(long, &operator), Err(InvalidCommand::TooLong));
        let other = PrivateKey::generate().unwrap();
        assert_eq!(Command::sign(order(&operator), &other), Err(InvalidCommand::Forged));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some((order, signature)) = parse(&bytes) {
                prop_assert_eq!([&order.body()[..], &signature].concat(), bytes);
            }
        }

        #[test]
        fn one_encoding(
            id: [u8; 16], expires: u64, verb in "[a-z-]{0,20}", name in "\\PC{0,9}", text in "\\PC{0,9}",
            number: i64,
        ) {
            let key = PublicKey::new([9; 32]);
            let args = Map::from_iter([(name, text.into()), ("n".to_owned(), number.into())]);
            let unit = "cache".parse().unwrap();
            let order = CommandBody { target: key, operator: key, id, expires, unit, verb, args };
            let bytes = [&order.body()[..], &[5; SIGNATURE]].concat();
            prop_assert_eq!(parse(&bytes), Some((order, [5; SIGNATURE])));
        }
    }
}
