//! One file per subcommand of `cargo image`.

pub mod bench;
pub mod build;
pub mod bundle;
pub mod clean;
pub mod ctl;
pub mod explain;
pub mod flash;
pub mod lan;
pub mod lock;
pub mod new;
pub mod power;
pub mod run;
pub mod sign;
pub mod test;
pub mod tools;
