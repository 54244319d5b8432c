//! A router and its boards, from blank machines to one box: all of them boot the released image.

mod adopted;
mod browser;
mod chosen;
mod failover;
mod flood;
mod forward;
mod guessed;
mod guides;
mod joined;
mod kept;
mod letters;
mod lossy;
mod manager;
mod metering;
mod neighbours;
mod numbers;
mod objects;
mod order;
mod outside;
mod owned;
mod pages;
mod question;
mod rates;
mod readme;
mod refused;
mod rogue;
mod run;
mod served;
mod site;
mod trouble;
mod unasked;
mod uplink;
mod view;
mod vpn;
mod wires;

pub use run::silent_beside;
