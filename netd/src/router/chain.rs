//! The parts of a table as values: rules, chains and declarations. They are rendered for nft in one
//! place, and never parsed back.

use std::borrow::Cow;
use std::fmt;

use super::text::list;

/// A rule: one line in nft's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NftRule(Cow<'static, str>);

/// The rules of a chain, in order. They change together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NftChain(pub Vec<NftRule>);

/// A declaration that a table has from the start and never loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    /// A counter of this name.
    Counter(&'static str),
    /// A set of this name that the rules fill, with its type and flags.
    Set(&'static str, &'static str),
    /// A regular chain, the target of jumps.
    Chain(&'static str),
    /// A base chain, which is attached to a hook.
    Base(&'static str, Hook),
}

/// The hook of a base chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: &'static str,
    pub hook: &'static str,
    /// The quoted device names, if the hook is per device.
    pub devices: Vec<String>,
    /// Chains with a lower priority are evaluated first.
    pub priority: &'static str,
    /// The verdict at the end of the chain.
    pub policy: &'static str,
}

/// Builds rules from `format!` strings.
macro_rules! rules {
    ($($line:literal),* $(,)?) => {
        vec![$($crate::router::chain::NftRule::from(format!($line))),*]
    };
}
pub(crate) use rules;

impl NftRule {
    /// Adds a comment for people. A comment in nft cannot contain a quotation mark, and has 128
    /// bytes at most.
    pub fn commented(self, comment: &str) -> Self {
        let comment: String = comment.replace('"', "'").chars().take(100).collect();
        Self(format!("{} comment \"{comment}\"", self.0).into())
    }
}

impl From<&'static str> for NftRule {
    fn from(line: &'static str) -> Self {
        Self(line.into())
    }
}

impl From<String> for NftRule {
    fn from(line: String) -> Self {
        Self(line.into())
    }
}

impl<R: Into<NftRule>, const N: usize> From<[R; N]> for NftChain {
    fn from(rules: [R; N]) -> Self {
        Self(rules.map(Into::into).into())
    }
}

impl From<Vec<NftRule>> for NftChain {
    fn from(rules: Vec<NftRule>) -> Self {
        Self(rules)
    }
}

impl Hook {
    /// The filter hook `hook`, with the priority of filters.
    pub const fn filter(hook: &'static str, policy: &'static str) -> Self {
        Self { kind: "filter", hook, devices: vec![], priority: "filter", policy }
    }
}

impl Declared {
    /// The chain's name, if this declares a chain.
    pub fn chain(&self) -> Option<&'static str> {
        match self {
            Self::Chain(name) | Self::Base(name, _) => Some(name),
            Self::Counter(_) | Self::Set(..) => None,
        }
    }

    /// The set's name, if this declares a set.
    pub fn set(&self) -> Option<&'static str> {
        match self {
            Self::Set(name, _) => Some(name),
            Self::Counter(_) | Self::Chain(_) | Self::Base(..) => None,
        }
    }
}

impl fmt::Display for NftRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NftChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|rule| writeln!(f, "    {rule}"))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, hook, devices, priority, policy } = self;
        write!(f, "type {kind} hook {hook} ")?;
        if !devices.is_empty() {
            write!(f, "devices = {{ {} }} ", list(devices))?;
        }
        write!(f, "priority {priority}; policy {policy};")
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(name) => writeln!(f, "  counter {name} {{ }}"),
            Self::Set(name, kind) => writeln!(f, "  set {name} {{ {kind}; }}"),
            Self::Chain(name) => writeln!(f, "  chain {name} {{ }}"),
            Self::Base(name, hook) => writeln!(f, "  chain {name} {{ {hook} }}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_nft_reads_them() {
        let port = "eth1";
        let chain = NftChain(rules!["iifname {port} accept", "ip protocol {{ tcp, udp }} drop"]);
        assert_eq!(
            chain.to_string(),
            "    iifname eth1 accept\n    ip protocol { tcp, udp } drop\n"
        );
        let hook =
            Hook { devices: vec!["\"a\"".into(), "\"b\"".into()], ..Hook::filter("x", "drop") };
        let declared =
            [Declared::Counter("c"), Declared::Set("s", "type mark"), Declared::Chain("d")];
        let text: String = declared.iter().map(Declared::to_string).collect();
        assert_eq!(text, "  counter c { }\n  set s { type mark; }\n  chain d { }\n");
        assert_eq!(
            Declared::Base("i", hook).to_string(),
            "  chain i { type filter hook x devices = { \"a\", \"b\" } priority filter; policy drop; }\n"
        );
    }

    /// A comment stays one quoted text, whatever a person writes.
    #[test]
    fn comments_fit() {
        let rule = |comment: &str| NftRule::from("accept").commented(comment).to_string();
        assert_eq!(rule("from \"a\""), "accept comment \"from 'a'\"");
        assert_eq!(rule(&"x".repeat(300)).len(), "accept comment \"\"".len() + 100);
    }
}
