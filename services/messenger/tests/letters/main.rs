//! People and mailboxes, with a transport in memory and files of redb.

#![cfg(test)]

mod bounds;
mod cuts;
mod first_contact;
mod forged;
mod lost;
mod order;
mod parsers;
mod renewed;
mod replicas;
mod restored;
mod secrecy;
mod world;
