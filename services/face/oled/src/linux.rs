//! I2C buses of Linux.

use std::fmt::{self, Display};
use std::path::Path;

use embedded_hal::i2c::{
    Error, ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation, SevenBitAddress,
};
use linux_embedded_hal::i2cdev::linux::LinuxI2CError;
use linux_embedded_hal::{I2CError, I2cdev};

use crate::display::OledError;

/// Opens `/dev/i2c-N`.
pub fn open(path: &Path) -> Result<LinuxBus, OledError> {
    I2cdev::new(path).map(LinuxBus).map_err(|error| OledError::Open {
        path: path.display().to_string(),
        cause: error.to_string(),
    })
}

/// A bus of `linux-embedded-hal`, with errors that name a missing device.
pub struct LinuxBus(I2cdev);

#[derive(Debug)]
pub struct LinuxBusError(I2CError);

impl Display for LinuxBusError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// `EREMOTEIO`: the drivers of DesignWare's and Broadcom's controllers return it if nothing
/// acknowledges its address. Others return `ENXIO`, as Documentation/i2c/fault-codes.rst says.
const NOTHING_ANSWERS: i32 = 121;

impl Error for LinuxBusError {
    fn kind(&self) -> ErrorKind {
        let code = match self.0.inner() {
            LinuxI2CError::Errno(code) => Some(*code),
            LinuxI2CError::Io(error) => error.raw_os_error(),
        };
        match code {
            Some(NOTHING_ANSWERS) => ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown),
            _ => self.0.kind(),
        }
    }
}

impl ErrorType for LinuxBus {
    type Error = LinuxBusError;
}

impl I2c for LinuxBus {
    fn transaction(
        &mut self,
        address: SevenBitAddress,
        operations: &mut [Operation<'_>],
    ) -> Result<(), LinuxBusError> {
        self.0.transaction(address, operations).map_err(LinuxBusError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_told_from_other_errors() {
        let is_missing = |code| {
            let kind = LinuxBusError(LinuxI2CError::Errno(code).into()).kind();
            matches!(kind, ErrorKind::NoAcknowledge(_))
        };
        let [enxio, ebusy, etimedout] = [6, 16, 110];
        assert!(is_missing(enxio) && is_missing(NOTHING_ANSWERS));
        assert!(!is_missing(ebusy) && !is_missing(etimedout));
    }

    #[test]
    fn a_missing_bus_is_named() {
        let error = open(Path::new("/dev/no-such-bus")).err().unwrap();
        assert!(matches!(&error, OledError::Open { path, .. } if path == "/dev/no-such-bus"));
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
