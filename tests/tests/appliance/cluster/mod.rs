//! A router and its boards, from blank machines to one box: all of them boot what ships.

mod adopted;
mod chosen;
mod failover;
mod forward;
mod guessed;
mod joined;
mod kept;
mod lossy;
mod manager;
mod metering;
mod neighbours;
mod numbers;
mod objects;
mod order;
mod question;
mod rates;
mod refused;
mod rogue;
mod run;
mod site;
mod trouble;
mod unasked;
mod uplink;
mod view;
mod vpn;
mod wires;
