//! The name of the rule that allows a packet.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// A `[[policy]]`, counted from 1 in the order of the file.
    Policy(usize),
    /// A `[[publish]]`, counted from 1 in the order of the file.
    Publish(usize),
    /// A `[[neighbour]]`, counted from 1 in the order of the file.
    Neighbour(usize),
    /// A built-in rule, by its name.
    BuiltIn(&'static str),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(number) => write!(f, "policy {number}"),
            Self::Publish(number) => write!(f, "publish {number}"),
            Self::Neighbour(number) => write!(f, "neighbour {number}"),
            Self::BuiltIn(name) => write!(f, "built-in {name}"),
        }
    }
}
