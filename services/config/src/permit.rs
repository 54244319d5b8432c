//! Authorization of changes.

use octet_appliance::SettingsSection;
use octet_appliance::operator::{Operator, OperatorKey, Permission};
use octet_node::control::{By, Failure, FailureCode, PublicKey, UnitName};

/// Why a change is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller is unknown.
    #[error("the command is not from an operator's key")]
    Anonymous,
    /// Root changes it without a signature, but the box has operators.
    #[error("this box has operators, so a change has to be signed by one of them")]
    Unsigned,
    /// The caller presents another operator's signature.
    #[error("this was signed by {signer}, but {by} asks for it")]
    OtherSigner { signer: PublicKey, by: PublicKey },
    /// The key is not an operator's.
    #[error("{0} is the key of none of the operators")]
    Unknown(PublicKey),
    /// The operator lacks `configure`.
    #[error("`{0}` may not configure this box")]
    NotPermitted(String),
    /// The operator is not an owner.
    #[error("`{name}` does not own this box, so `{section}` stays as it is")]
    NotOwner {
        name: String,
        /// The section to be changed.
        section: SettingsSection,
    },
    /// The box would have no owner.
    #[error("the box would have no owner: the last key with `own` cannot be removed")]
    LastOwner,
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        let help = match &denied {
            Denied::Anonymous | Denied::Unsigned => "use octetctl with the key of an operator",
            Denied::OtherSigner { .. } => "sign it with the key that asks",
            Denied::Unknown(_) | Denied::NotPermitted(_) => {
                "ask an owner to grant `configure` in `[operator]`"
            }
            Denied::NotOwner { .. } => "leave it as it is, or ask an owner: docs/config.md",
            Denied::LastOwner => "give another key `own` as well",
        };
        Self::new(FailureCode::Denied, denied.to_string(), help)
    }
}

/// Checks that `by` may cause a change of values that only an owner may change, in the sections
/// `owned`. `signer` is the signer of the change, if it is signed; `now` are the operators in
/// force, and `next` those after the change.
pub fn permit(
    by: Option<By>,
    signer: Option<PublicKey>,
    now: &Operator,
    next: &Operator,
    owned: &[SettingsSection],
) -> Result<By, Denied> {
    let by = match (by, signer) {
        (Some(By::Operator(by)), Some(signer)) if by != signer => {
            return Err(Denied::OtherSigner { signer, by });
        }
        // The signer's permissions count, whoever delivers the command.
        (_, Some(signer)) => {
            check(&signer, now, owned)?;
            By::Operator(signer)
        }
        (Some(By::Port), None) => By::Port,
        // Without operators, no signature is possible yet.
        (Some(By::Root), None) if now.keys.is_empty() => By::Root,
        (Some(By::Root | By::Operator(_)), None) => return Err(Denied::Unsigned),
        (None, None) => return Err(Denied::Anonymous),
    };
    let has_owner = |operator: &Operator| operator.keys.iter().any(owns);
    if has_owner(now) && !has_owner(next) {
        return Err(Denied::LastOwner);
    }
    Ok(by)
}

/// Checks that `by` may undo a pending configuration, which would change values that only an owner
/// may change, in the sections `owned`. Undoing stores nothing, so an authenticated caller needs no
/// signature; `now` are the confirmed operators.
pub fn permit_undo(
    by: Option<By>,
    signer: Option<PublicKey>,
    now: &Operator,
    owned: &[SettingsSection],
) -> Result<(), Denied> {
    match (by, signer) {
        (Some(By::Operator(by)), Some(signer)) if by != signer => {
            Err(Denied::OtherSigner { signer, by })
        }
        (_, Some(key)) | (Some(By::Operator(key)), None) => check(&key, now, owned),
        (Some(By::Port), None) => Ok(()),
        (Some(By::Root), None) if now.keys.is_empty() || owned.is_empty() => Ok(()),
        (Some(By::Root), None) => Err(Denied::Unsigned),
        (None, None) => Err(Denied::Anonymous),
    }
}

/// Whether `by` is an owner, among the operators `now`.
pub fn is_owner(by: By, now: &Operator) -> bool {
    match by {
        By::Port => true,
        By::Root => now.keys.is_empty(),
        By::Operator(key) => now.keys.iter().any(|operator| operator.key == key && owns(operator)),
    }
}

fn check(signer: &PublicKey, now: &Operator, owned: &[SettingsSection]) -> Result<(), Denied> {
    let operator = now.keys.iter().find(|operator| operator.key == *signer);
    let operator = operator.ok_or(Denied::Unknown(*signer))?;
    let name = || operator.name.to_string();
    let config = UnitName::try_from(octet_appliance::CONFIG.to_owned());
    if !config.is_ok_and(|config| operator.permits(Permission::Configure, &config)) {
        return Err(Denied::NotPermitted(name()));
    }
    match owned.first() {
        Some(&section) if !owns(operator) => Err(Denied::NotOwner { name: name(), section }),
        _ => Ok(()),
    }
}

/// Whether the operator is an owner. `own` is granted for the whole box, so it is the same for each
/// unit.
fn owns(operator: &OperatorKey) -> bool {
    let init = UnitName::try_from(octet_appliance::INIT.to_owned());
    init.is_ok_and(|init| operator.permits(Permission::Own, &init))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // Not every number encodes a valid key.
    const ANNA: PublicKey = PublicKey::new([1; 32]);
    const BEN: PublicKey = PublicKey::new([3; 32]);
    const CARL: PublicKey = PublicKey::new([6; 32]);
    const EVE: PublicKey = PublicKey::new([9; 32]);

    fn operators(list: &[(PublicKey, &str, &[&str])]) -> Operator {
        let keys: Vec<_> = list
            .iter()
            .map(|(key, name, may)| json!({ "key": key, "name": name, "may": may }))
            .collect();
        serde_json::from_value(json!({ "keys": keys })).unwrap()
    }

    fn three() -> Operator {
        operators(&[
            (ANNA, "anna", &["own"]),
            (BEN, "ben", &["configure", "read"]),
            (CARL, "carl", &["read", "update", "configure:logd"]),
        ])
    }

    const NAME: &[SettingsSection] = &[];
    const KEYS: &[SettingsSection] = &[SettingsSection::Operator];

    #[test]
    fn configure_changes_settings_and_own_changes_owners() {
        let (now, key) = (three(), |key| (Some(By::Operator(key)), Some(key)));
        let ask = |(by, signer), changed| permit(by, signer, &now, &now, changed);
        assert_eq!(ask(key(BEN), NAME), Ok(By::Operator(BEN)));
        assert_eq!(ask(key(ANNA), KEYS), Ok(By::Operator(ANNA)));
        for owners in
            [KEYS, &[SettingsSection::Trust], &[SettingsSection::Cluster, SettingsSection::Board]]
        {
            assert!(matches!(ask(key(BEN), owners), Err(Denied::NotOwner { .. })), "{owners:?}");
            assert_eq!(ask(key(ANNA), owners), Ok(By::Operator(ANNA)));
        }
        assert_eq!(ask(key(CARL), NAME), Err(Denied::NotPermitted("carl".into())));
        assert_eq!(ask(key(EVE), NAME), Err(Denied::Unknown(EVE)));
    }

    #[test]
    fn what_counts_is_who_has_signed() {
        let now = three();
        let ask = |by, signer| permit(by, signer, &now, &now, NAME);
        assert_eq!(ask(Some(By::Root), Some(BEN)), Ok(By::Operator(BEN)));
        assert_eq!(ask(Some(By::Port), Some(BEN)), Ok(By::Operator(BEN)));
        assert_eq!(ask(Some(By::Port), Some(EVE)), Err(Denied::Unknown(EVE)));
        let replayed = Denied::OtherSigner { signer: BEN, by: ANNA };
        assert_eq!(ask(Some(By::Operator(ANNA)), Some(BEN)), Err(replayed));
        assert_eq!(ask(Some(By::Operator(ANNA)), None), Err(Denied::Unsigned));
    }

    #[test]
    fn unsigned_only_at_the_port_or_while_nobody_could_sign() {
        let (now, none) = (three(), Operator::default());
        for (by, is_closed, is_open) in [
            (Some(By::Port), Ok(By::Port), Ok(By::Port)),
            (Some(By::Root), Ok(By::Root), Err(Denied::Unsigned)),
            (None, Err(Denied::Anonymous), Err(Denied::Anonymous)),
        ] {
            assert_eq!(permit(by, None, &none, &now, KEYS), is_closed);
            assert_eq!(permit(by, None, &now, &now, KEYS), is_open);
        }
    }

    #[test]
    fn who_may_not_change_it_does_not_take_it_back() {
        let (now, none) = (three(), Operator::default());
        let ask = |by, signer, owned| permit_undo(by, signer, &now, owned);
        for (key, is_owner_too) in [(ANNA, true), (BEN, false)] {
            assert_eq!(is_owner(By::Operator(key), &now), is_owner_too);
            for (by, signer) in [
                (Some(By::Operator(key)), None),
                (Some(By::Operator(key)), Some(key)),
                (Some(By::Root), Some(key)),
                (None, Some(key)),
            ] {
                assert_eq!(ask(by, signer, NAME), Ok(()));
                assert_eq!(ask(by, signer, KEYS).is_ok(), is_owner_too, "{by:?} {signer:?}");
            }
        }
        assert_eq!(
            ask(Some(By::Operator(CARL)), None, NAME),
            Err(Denied::NotPermitted("carl".into()))
        );
        let of_another = Denied::OtherSigner { signer: ANNA, by: BEN };
        assert_eq!(ask(Some(By::Operator(BEN)), Some(ANNA), KEYS), Err(of_another));
        assert_eq!(ask(Some(By::Port), None, KEYS), Ok(()));
        assert_eq!(ask(Some(By::Root), None, NAME), Ok(()));
        assert_eq!(ask(Some(By::Root), None, KEYS), Err(Denied::Unsigned));
        assert_eq!(permit_undo(Some(By::Root), None, &none, KEYS), Ok(()));
        assert_eq!(ask(None, None, NAME), Err(Denied::Anonymous));
        assert!(is_owner(By::Port, &now) && !is_owner(By::Root, &now) && is_owner(By::Root, &none));
    }

    #[test]
    fn the_last_owner_stays() {
        let now = three();
        let ask = |by, signer, next: &Operator| permit(Some(by), signer, &now, next, KEYS);
        let other = operators(&[(EVE, "eve", &["own"])]);
        let none = operators(&[(BEN, "ben", &["configure"])]);
        for (by, signer) in [(By::Port, None), (By::Operator(ANNA), Some(ANNA))] {
            assert!(ask(by, signer, &other).is_ok());
            assert_eq!(ask(by, signer, &none), Err(Denied::LastOwner));
            assert_eq!(ask(by, signer, &Operator::default()), Err(Denied::LastOwner));
        }
        // A box without owners cannot lose one.
        assert!(permit(Some(By::Port), None, &none, &Operator::default(), KEYS).is_ok());
    }
}
