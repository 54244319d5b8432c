//! Which upstreams a client's query is forwarded to.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UpstreamPath {
    /// This node's own upstreams.
    #[default]
    Own,
    /// The exit node of the client, and no other.
    Exit,
    /// [`Own`](Self::Own) for a remote node that uses this node as its exit, without names of the
    /// box.
    Guest,
}
