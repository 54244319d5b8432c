//! What this service has the kernel do, in this machine's kernel.

#![cfg(test)]

mod namespace;
mod private;
mod quota;
