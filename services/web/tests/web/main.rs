//! The server with a double of a box, over real connections.

#![cfg(test)]

mod actions;
mod browser;
mod double;
mod install;
mod limits;
mod live;
mod pages;
mod recorded;
mod sessions;
