//! Web origins through the cache: the real unit `origin`, and a web server that counts and does what a test wants.

mod age;
mod boards;
mod collapse;
mod fresh;
mod private;
mod purged;
mod restart;
mod stand;
