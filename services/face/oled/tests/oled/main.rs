//! Pictures and the driver, through the bytes on the bus. Goldens are renewed by
//! `OCTET_WRITE_GOLDEN=1 cargo test -p octet-oled --test oled`.

#![cfg(test)]

mod driver;
mod figures;
mod golden;
mod mock;
mod properties;
