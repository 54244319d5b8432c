//! End-to-end tests of the command, with a mailbox over QUIC on loopback.

#![cfg(test)]

mod followed;
mod picture;
mod restored;
mod terminal;
mod two_people;
mod typed;
mod world;
