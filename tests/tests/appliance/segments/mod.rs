//! A router between its boards, tested with packets: the test simulates the hosts at every port.

mod arm;
mod attacks;
mod boot;
mod cards;
mod chance;
mod change;
mod drift;
mod errors;
mod flips;
mod flows;
mod openwrt;
mod pairs;
mod plugged;
mod policies;
mod site;
mod steps;
mod storms;
mod sweep;
