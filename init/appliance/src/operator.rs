//! `[operator]`: the operators and their permissions.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::span_of;
use crate::file_error::FileError;
use crate::name::{OperatorName, UnitName};
use crate::public_key::PublicKey;

/// Maximum number of keys: each gives access from outside.
const MAX_KEYS: usize = 64;

/// `[operator]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The keys that the gate accepts.
    #[serde(default)]
    pub keys: Vec<OperatorKey>,
}

/// An operator's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorKey {
    /// The public key, as `octetctl keygen` prints it.
    pub key: PublicKey,
    /// The operator's name in the log.
    pub name: OperatorName,
    pub may: Vec<Grant>,
}

/// The permission that a caller needs for a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    Read,
    /// Start and stop what exists.
    Operate,
    Configure,
    Update,
    /// Change permissions; includes all others.
    Own,
}

impl Permission {
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Operate, Self::Configure, Self::Update, Self::Own];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Configure => "configure",
            Self::Update => "update",
            Self::Own => "own",
        }
    }
}

/// A capability for the whole box, `"read"`, or for one unit, `"operate:cache"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grant {
    capability: Permission,
    unit: Option<UnitName>,
}

/// Text that is not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be granted: write read, operate, configure, update (of one unit: `operate:cache`) or own"
)]
pub struct InvalidGrant(String);

impl Grant {
    /// Whether it permits a verb of `unit` that needs `capability`. Only `own` includes others: an
    /// operator who may update the software need not be able to read the log.
    pub fn permits(&self, capability: Permission, unit: &UnitName) -> bool {
        let whole = self.capability == Permission::Own || self.capability == capability;
        whole && self.unit.as_ref().is_none_or(|own| own == unit)
    }
}

impl OperatorKey {
    /// Whether the operator may use a verb of `unit` that needs `capability`.
    pub fn permits(&self, capability: Permission, unit: &UnitName) -> bool {
        self.may.iter().any(|grant| grant.permits(capability, unit))
    }
}

impl TryFrom<String> for Grant {
    type Error = InvalidGrant;

    fn try_from(text: String) -> Result<Self, InvalidGrant> {
        let (name, unit) = match text.split_once(':') {
            Some((name, unit)) => (name, Some(unit.parse::<UnitName>())),
            None => (text.as_str(), None),
        };
        let capability = Permission::ALL.into_iter().find(|capability| capability.name() == name);
        match (capability, unit) {
            // Who may change permissions has the whole box: `own` for a single unit would be
            // misleading.
            (None, _) | (Some(Permission::Own), Some(_)) | (_, Some(Err(_))) => {
                Err(InvalidGrant(text))
            }
            (Some(capability), None) => Ok(Self { capability, unit: None }),
            (Some(capability), Some(Ok(unit))) => Ok(Self { capability, unit: Some(unit) }),
        }
    }
}

impl From<Grant> for String {
    fn from(grant: Grant) -> String {
        grant.to_string()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.capability.name())?;
        self.unit.iter().try_for_each(|unit| write!(f, ":{unit}"))
    }
}

impl Operator {
    /// Checks constraints between the keys of the section, which was read from `text`, the content
    /// of `file`.
    pub(crate) fn check(&self, file: &str, text: &str) -> Result<(), Box<FileError>> {
        let wrong = |index: usize, key: &str, message: String, hint: &str| {
            let at = span_of(text, &["operator", "keys", &index.to_string(), key]);
            Err(FileError::new(file, text, at, message, hint))
        };
        for (index, operator) in self.keys.iter().enumerate() {
            let before = &self.keys[..index];
            if before.iter().any(|other| other.key == operator.key) {
                let message = format!("the key {} is there twice", operator.key);
                return wrong(index, "key", message, "say all that it may in one place");
            }
            if before.iter().any(|other| other.name == operator.name) {
                let message = format!("two operators are called `{}`", operator.name);
                return wrong(index, "name", message, "the log must tell them apart: rename one");
            }
            if operator.may.is_empty() {
                let message = format!("`{}` may do nothing", operator.name);
                return wrong(index, "may", message, "say what, or remove the key");
            }
            if index == MAX_KEYS {
                let message = format!("there are more than {MAX_KEYS} operators");
                return wrong(index, "key", message, "each is a way in: remove some");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Appliance;
    use proptest::prelude::*;

    const ANNA: &str = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    const BEN: &str = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";

    fn appliance(keys: &str) -> Result<Appliance, Box<FileError>> {
        let text = format!(
            "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\n\
             services = []\n[operator]\nkeys = [\n{keys}]\n"
        );
        Appliance::parse("appliance.toml", &text)
    }

    #[test]
    fn nobody_unless_named() {
        assert_eq!(appliance("").unwrap().operator, Operator::default());
        let line = format!("{{ key = {ANNA:?}, name = \"anna\", may = [\"own\"] }},\n");
        let operator = appliance(&line).unwrap().operator;
        assert_eq!(operator.keys[0].key.to_string(), ANNA);
        let json = serde_json::to_string(&operator).unwrap();
        assert_eq!(serde_json::from_str::<Operator>(&json).unwrap(), operator);
    }

    #[test]
    fn mistakes_are_placed() {
        let anna = format!("{{ key = {ANNA:?}, name = \"anna\", may = [\"own\"] }},\n");
        let ben =
            format!("{{ key = {BEN:?}, name = \"ben\", may = [\"read\", \"operate:cache\"] }},\n");
        assert!(appliance(&format!("{anna}{ben}")).is_ok());
        for (from, to, part) in [
            (BEN, ANNA, "twice"),
            ("\"ben\"", "\"anna\"", "called `anna`"),
            ("[\"read\", \"operate:cache\"]", "[]", "may do nothing"),
            ("\"read\"", "\"reads\"", "cannot be granted"),
            ("operate:cache", "own:cache", "cannot be granted"),
            (BEN, "did:key:z6Mk", "not a public key"),
            ("\"ben\"", "\"Ben\\n\"", "name"),
            ("may", "can", "unknown field"),
        ] {
            let error = appliance(&format!("{anna}{}", ben.replace(from, to))).unwrap_err();
            assert_eq!(error.line, 11, "{from} {to}: {error}");
            assert!(error.message.contains(part) && error.column > 1, "{error}");
            assert!(!error.hint.is_empty());
        }
    }

    #[test]
    fn only_own_includes_others() {
        let grant = |text: &str| Grant::try_from(text.to_owned()).unwrap();
        let (cache, logd) = ("cache".parse().unwrap(), "logd".parse().unwrap());
        for capability in Permission::ALL {
            assert!(grant("own").permits(capability, &cache));
            assert_eq!(grant("read").permits(capability, &cache), capability == Permission::Read);
            let one = grant("operate:cache");
            assert_eq!(one.permits(capability, &cache), capability == Permission::Operate);
            assert!(!one.permits(capability, &logd));
        }
    }

    proptest! {
        #[test]
        fn a_grant_prints_as_it_parses(text in "(read|operate|configure|update|own|x)(:[a-z-]{0,4})?") {
            if let Ok(grant) = Grant::try_from(text.clone()) {
                prop_assert_eq!(grant.to_string(), text);
            }
        }

        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = Grant::try_from(text);
        }
    }
}
