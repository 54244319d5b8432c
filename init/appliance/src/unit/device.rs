//! Devices that a unit may be given.

use serde::{Deserialize, Serialize};

/// Name prefixes of character devices that reach a bus, pins or a serial line, and by which no unit
/// can become another one: not memory, disks, terminals or the control port. A number follows.
const PREFIXES: [&str; 5] = ["i2c-", "spidev", "gpiochip", "ttyUSB", "ttyACM"];

/// The hardware random number generator.
const RANDOM: &str = "hwrng";

/// The longest name, in bytes.
const LONGEST: usize = 32;

/// A character device by its path, such as `/dev/i2c-0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DevicePath(String);

/// Text that is not such a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a device that a unit can be given: write /dev/i2c-N, /dev/spidevN.N, /dev/gpiochipN, /dev/ttyUSBN, /dev/ttyACMN or /dev/hwrng"
)]
pub struct InvalidDevice(String);

impl DevicePath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without `/dev/`.
    pub fn name(&self) -> &str {
        self.0.trim_start_matches("/dev/")
    }
}

impl TryFrom<String> for DevicePath {
    type Error = InvalidDevice;

    fn try_from(path: String) -> Result<Self, InvalidDevice> {
        let is_number = |rest: &str| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        let is_known = path.strip_prefix("/dev/").is_some_and(|name| {
            let numbers = PREFIXES.iter().filter_map(|prefix| name.strip_prefix(prefix));
            name == RANDOM || { numbers }.any(is_number)
        });
        if is_known && path.len() <= LONGEST { Ok(Self(path)) } else { Err(InvalidDevice(path)) }
    }
}

impl From<DevicePath> for String {
    fn from(device: DevicePath) -> String {
        device.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_buses_pins_and_serial_lines() {
        let parse = |path: &str| DevicePath::try_from(path.to_owned());
        for path in ["/dev/i2c-0", "/dev/spidev0.1", "/dev/ttyUSB12", "/dev/hwrng"] {
            assert_eq!(parse(path).unwrap().as_str(), path);
        }
        assert_eq!(parse("/dev/i2c-7").unwrap().name(), "i2c-7");
        for path in [
            "/dev/i2c-",
            "i2c-0",
            "/dev/i2c-0/x",
            "/dev/../dev/i2c-0",
            "/dev/mem",
            "/dev/vda",
            "/dev/hwrng0",
            "/dev/ttyS0",
            "/dev/kmsg",
            "/dev/i2c-\u{661}",
            "/dev/vport1p1",
            "",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_one_component(path in "(/dev/)?(i2c-|spidev)?\\PC{0,8}") {
            if let Ok(device) = DevicePath::try_from(path.clone()) {
                prop_assert_eq!(format!("/dev/{}", device.name()), path);
                prop_assert!(!device.name().contains('/'));
            }
        }
    }
}
