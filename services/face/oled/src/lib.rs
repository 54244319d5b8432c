//! A box's figures on a small display: a pure function draws a [`Picture`] of 128 columns, and a
//! driver writes it to an SSD1306 or SH1106 over I2C.

mod canvas;
mod chart;
mod controller;
mod display;
mod figures;
mod key_code;
mod linux;
mod output;
mod page;
mod picture;
mod squares;
mod words;

pub use controller::OledController;
pub use display::{ADDRESSES, LOW_CONTRAST, OledDisplay, OledError, OledSettings, probe};
pub use figures::{NodeCondition, OledFigures, OledKey, OledNode};
pub use linux::{LinuxBus, LinuxBusError, open};
pub use output::{half_blocks, svg};
pub use page::{OledPage, SHIFTS, draw};
pub use picture::{COLUMNS, OledSize, Picture};
