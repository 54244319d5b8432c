//! One payer and one payee: each rule, and each refusal beside what is accepted.

#![cfg(test)]

mod book;
mod kinds;
mod ledger;
mod limits;
mod pair;
mod payments;
mod recovery;
mod refusals;
