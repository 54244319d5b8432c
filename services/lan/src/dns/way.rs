//! By which way names of outside are asked for, by who asks.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UpstreamPath {
    /// By those whom this node asks for itself.
    #[default]
    Own,
    /// By the node by which the client's packets leave, and by nobody else.
    Exit,
    /// As [`Own`](Self::Own), for a node that leaves by this one: it is told nothing of the box.
    Guest,
}
