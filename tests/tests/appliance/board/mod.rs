//! A single board: its boots, its disk, its settings and its units.

mod again;
mod bad_disk;
mod board_of_flash;
mod boot;
mod config;
mod cut;
mod disk;
mod identity;
mod placed;
mod power_cut;
mod quick;
mod reset;
mod set_back;
mod terminal;
mod tools;
mod u_boot;
mod units;
