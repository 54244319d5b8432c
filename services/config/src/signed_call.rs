//! Signed configuration changes: an operator signs that this box gets this configuration, with this
//! number.

use octet_node::command::{Command, CommandBody};
use octet_node::control::{Failure, FailureCode, PublicKey};
use serde_json::{Map, Value};

/// The argument of a call that contains the signed command.
pub const SIGNED: &str = "signed";

/// Checks that `text` is a command for the box `node` that authorizes exactly this call: the verb
/// `verb` of this unit with `args`. Returns the signer.
///
/// The expiry is ignored, because the command contains a sequence number that is used once.
///
/// # Errors
/// The command is malformed, forged, or for another call.
pub fn check(
    text: &str,
    node: &PublicKey,
    verb: &str,
    args: &Map<String, Value>,
) -> Result<PublicKey, Failure> {
    let command = Command::try_from(text.to_owned())
        .map_err(|error| denied(&error.to_string(), "sign it with octetctl"))?;
    let CommandBody { target, operator, unit, verb: wanted, args: signed, .. } = command.body();
    if target != node {
        let message = format!("this was signed for the box {target}, and this one is {node}");
        return Err(denied(&message, "sign it for this box"));
    }
    if unit.as_str() != octet_appliance::CONFIG || wanted != verb {
        let message = format!("this was signed for `{unit} {wanted}`, and not for this");
        return Err(denied(&message, "sign what you ask for"));
    }
    let asked = args.iter().filter(|(name, _)| *name != SIGNED);
    let same = asked.clone().count() == signed.len()
        && asked.into_iter().all(|(name, value)| signed.get(name) == Some(value));
    if !same {
        return Err(denied("other arguments were signed than are given", "sign what you ask for"));
    }
    Ok(*operator)
}

fn denied(message: &str, help: &str) -> Failure {
    Failure::new(FailureCode::Denied, message, help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use octet_node::key::PrivateKey;
    use serde_json::json;

    fn args(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn only_what_was_signed() {
        let (node, anna) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let asked = args(json!({ "file": { "sha256": "abc" }, "sequence": 3 }));
        let order = CommandBody {
            target: node.public(),
            operator: anna.public(),
            id: [1; 16],
            expires: 0,
            unit: "config".parse().unwrap(),
            verb: "apply".into(),
            args: asked.clone(),
        };
        let sign = |order: CommandBody| String::from(Command::sign(order, &anna).unwrap());
        let text = sign(order.clone());
        let mut carried = asked.clone();
        carried.insert(SIGNED.into(), text.clone().into());
        assert_eq!(check(&text, &node.public(), "apply", &carried), Ok(anna.public()));

        let other = PrivateKey::generate().unwrap().public();
        let to_other = sign(CommandBody { target: other, ..order.clone() });
        let of_unit = sign(CommandBody { unit: "logd".parse().unwrap(), ..order.clone() });
        let no_args = sign(CommandBody { args: Map::new(), ..order });
        let mut changed = carried.clone();
        changed.insert("sequence".into(), 4.into());
        let mut more = carried.clone();
        more.insert("confirm".into(), 4.into());
        for (text, verb, args) in [
            (&to_other, "apply", &carried),
            (&of_unit, "apply", &carried),
            (&no_args, "apply", &carried),
            (&text, "rollback", &carried),
            (&text, "apply", &changed),
            (&text, "apply", &more),
            (&"AAAA".to_owned(), "apply", &carried),
            (&text.replace(&text[200..204], "AAAA"), "apply", &carried),
        ] {
            let failure = check(text, &node.public(), verb, args).unwrap_err();
            assert_eq!(failure.code, FailureCode::Denied);
        }
    }
}
