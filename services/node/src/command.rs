//! Commands that are signed by an operator, so that others can deliver them: a messenger or a USB stick.

use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use octet_control::{PublicKey, UnitName};
use serde_json::{Map, Value};

use crate::bytes::{Fields, put_text};
use crate::key::Domain;
use crate::signed::{Signable, SignedStatement};

/// The maximum size of the encoding, in bytes: as base64 it fits into a request.
const LONGEST: usize = 8 << 10;

/// The id of a command, which runs at most once.
pub type CommandId = [u8; 16];

/// The content of a command. Its reader must check the target, the operator's authorization, and the
/// expiry.
///
/// Its encoding within [`SignedStatement`]: target (32 bytes), operator (32), id (16), expires (8), the unit's
/// name and the verb's (each 1 byte of length, then UTF-8), and the arguments as JSON without spaces
/// up to the signature, in the domain `octet command 1`. The text is base64 for URLs without padding.
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
pub type Command = SignedStatement<CommandBody>;

impl Signable for CommandBody {
    const NAME: &'static str = "command";
    const DOMAIN: Domain = Domain::Command;
    const TEXT: GeneralPurpose = URL_SAFE_NO_PAD;
    const MAX_BYTES: usize = LONGEST;

    fn signer(&self) -> PublicKey {
        self.operator
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.target.as_bytes());
        out.extend_from_slice(self.operator.as_bytes());
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.expires.to_be_bytes());
        put_text(self.unit.as_str(), out);
        put_text(&self.verb, out);
        out.extend_from_slice(json(&self.args).as_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (target, operator) = (fields.key()?, fields.key()?);
        let (id, expires) = (fields.array()?, fields.u64()?);
        let (unit, verb) = (fields.unit()?, fields.text()?.to_owned());
        let arguments = fields.take(fields.0.len())?;
        let args: Map<String, Value> = serde_json::from_slice(arguments).ok()?;
        // The encoding is unique: no spaces, no duplicate names.
        let is_unique = json(&args).as_bytes() == arguments;
        is_unique.then_some(Self { target, operator, id, expires, unit, verb, args })
    }

    fn fits(&self) -> bool {
        self.verb.len() <= u8::MAX.into()
    }
}

fn json(args: &Map<String, Value>) -> String {
    Value::Object(args.clone()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PrivateKey;
    use crate::signed::tests::{has_one_encoding, only_as_signed, reads};
    use crate::signed::{InvalidSigned, VERSION};
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

    fn encoded(order: &CommandBody) -> Vec<u8> {
        let mut out = vec![VERSION];
        order.encode(&mut out);
        out
    }

    #[test]
    fn only_the_operator_signs_it() {
        let operator = PrivateKey::generate().unwrap();
        only_as_signed(&order(&operator), &operator);
        let text = String::from(Command::sign(order(&operator), &operator).unwrap());
        assert!(!text.contains(['+', '/', '=']), "{text}");
    }

    /// A valid signature does not make an ambiguous encoding acceptable.
    #[test]
    fn one_text_for_the_arguments() {
        let operator = PrivateKey::generate().unwrap();
        let body = encoded(&order(&operator));
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
            assert_eq!(signed(other), Err(InvalidSigned::Malformed(CommandBody::NAME)));
        }
    }

    #[test]
    fn what_cannot_be_carried_is_not_signed() {
        let operator = PrivateKey::generate().unwrap();
        let mut long = order(&operator);
        long.args.insert("text".into(), "x".repeat(LONGEST).into());
        assert_eq!(Command::sign(long, &operator), Err(InvalidSigned::TooLong("command", LONGEST)));
        let mut long = order(&operator);
        long.verb = "x".repeat(256);
        assert_eq!(Command::sign(long, &operator), Err(InvalidSigned::TooLong("command", LONGEST)));
        let other = PrivateKey::generate().unwrap();
        assert_eq!(Command::sign(order(&operator), &other), Err(InvalidSigned::Forged("command")));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            has_one_encoding::<CommandBody>(&bytes);
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
            prop_assert_eq!(reads(&order), Some(order));
        }
    }
}
