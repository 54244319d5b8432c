//! People with the command itself, and a mailbox, over QUIC on loopback.

#![cfg(test)]

mod restored;
mod two_people;
mod world;
