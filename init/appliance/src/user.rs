//! The fixed table of users: one per service, with the same number on every board and in every
//! version, because files on the data partition are owned by number.

use serde::{Deserialize, Serialize};

/// An entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The name, as in `/etc/passwd`.
    pub name: &'static str,
    /// User id; the group has the same name and id.
    pub uid: u32,
}

/// All users. An entry is never changed or removed, only added.
///
/// `extra-N` are for services of the appliance's owner (`[[service]]`).
pub const USERS: &[User] = &[
    User { name: "root", uid: 0 },
    User { name: "console", uid: 101 },
    User { name: "clock", uid: 102 },
    User { name: "logd", uid: 103 },
    User { name: "identity", uid: 104 },
    User { name: "config", uid: 105 },
    User { name: "update", uid: 106 },
    User { name: "gate", uid: 107 },
    User { name: "netd", uid: 108 },
    User { name: "lan", uid: 109 },
    User { name: "cluster", uid: 110 },
    User { name: "forward", uid: 111 },
    User { name: "cache", uid: 112 },
    User { name: "messenger", uid: 113 },
    User { name: "router", uid: 114 },
    User { name: "face", uid: 115 },
    User { name: "accounts", uid: 116 },
    User { name: "ledger", uid: 117 },
    User { name: "origin", uid: 118 },
    User { name: "extra-1", uid: 901 },
    User { name: "extra-2", uid: 902 },
    User { name: "extra-3", uid: 903 },
    User { name: "extra-4", uid: 904 },
    User { name: "extra-5", uid: 905 },
    User { name: "extra-6", uid: 906 },
    User { name: "extra-7", uid: 907 },
    User { name: "extra-8", uid: 908 },
];

/// A name in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(User);

/// A name that is not in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no user `{0}`: a unit of Octet runs as the user of its own name, a service of yours as extra-1 to extra-8"
)]
pub struct UnknownUser(String);

impl UserName {
    /// The user of PID 1 itself.
    pub const ROOT: Self = Self(USERS[0]);

    /// The entry of the table.
    pub fn user(self) -> User {
        self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = UnknownUser;

    fn try_from(name: String) -> Result<Self, UnknownUser> {
        USERS.iter().find(|user| user.name == name).copied().map(Self).ok_or(UnknownUser(name))
    }
}

impl From<UserName> for String {
    fn from(user: UserName) -> String {
        user.0.name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_name_or_number_twice() {
        let names: HashSet<_> = USERS.iter().map(|user| user.name).collect();
        let uids: HashSet<_> = USERS.iter().map(|user| user.uid).collect();
        assert_eq!((names.len(), uids.len()), (USERS.len(), USERS.len()));
    }
}
