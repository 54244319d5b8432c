//! The driver of a display on an I2C bus.

use std::fmt::Display;

use embedded_hal::i2c::{Error, ErrorKind, I2c};
use thiserror::Error;

use crate::controller::{COMMANDS, DATA, DISPLAY_OFF, DISPLAY_ON, NOP, OledController};
use crate::picture::{OledSize, Picture};

/// The addresses that such displays may have.
pub const ADDRESSES: [u8; 2] = [0x3C, 0x3D];

/// Readable in a room, and slow to burn in.
pub const LOW_CONTRAST: u8 = 0x20;

#[derive(Clone, Copy, Debug)]
pub struct OledSettings {
    pub controller: OledController,
    pub size: OledSize,
    /// One of [`ADDRESSES`].
    pub address: u8,
    /// [`LOW_CONTRAST`] unless somebody sets another.
    pub contrast: u8,
}

#[derive(Debug, Error, Eq, PartialEq)]
pub enum OledError {
    #[error("no display answers at address {address:#04x}")]
    NoDisplay { address: u8 },
    #[error("the I2C bus failed at address {address:#04x}: {cause}")]
    Bus { address: u8, cause: String },
    #[error("cannot open {path}: {cause}")]
    Open { path: String, cause: String },
    #[error("the picture has {picture} rows, the display {display}")]
    WrongSize { picture: usize, display: usize },
}

impl OledError {
    fn of_bus(address: u8, error: &(impl Error + Display)) -> Self {
        match error.kind() {
            ErrorKind::NoAcknowledge(_) => Self::NoDisplay { address },
            _ => Self::Bus { address, cause: error.to_string() },
        }
    }

    pub fn help(&self) -> &'static str {
        match self {
            Self::NoDisplay { .. } => {
                "check its power and its two lines, and whether its address is 0x3C or 0x3D"
            }
            Self::Bus { .. } => {
                "check SDA, SCL and their pull-ups, and that no kernel driver has the display"
            }
            Self::Open { .. } => {
                "check that the board's device tree has the bus, that i2c-dev is loaded, and who may open the device"
            }
            Self::WrongSize { .. } => "draw the picture in the size that the settings name",
        }
    }
}

/// The addresses at which something answers. That it is a display, and which one, only the settings
/// say: see [`OledController`].
pub fn probe<B: I2c<Error: Display>>(bus: &mut B) -> Result<Vec<u8>, OledError> {
    let mut found = vec![];
    for address in ADDRESSES {
        // A command without effect: many adapters cannot write zero bytes.
        match bus.write(address, &[COMMANDS, NOP]) {
            Ok(()) => found.push(address),
            Err(error) => match OledError::of_bus(address, &error) {
                OledError::NoDisplay { .. } => {}
                error => return Err(error),
            },
        }
    }
    Ok(found)
}

/// A display, which is set up by the first picture, and again by the first one after an error.
pub struct OledDisplay<B> {
    bus: B,
    settings: OledSettings,
    /// What the display shows; `None` if that is not known.
    shown: Option<Picture>,
}

impl<B: I2c<Error: Display>> OledDisplay<B> {
    pub fn new(bus: B, settings: OledSettings) -> Self {
        Self { bus, settings, shown: None }
    }

    /// Writes the pages that differ from the last picture. After an error the next picture sets
    /// the display up again, and is written in full, so a display may be unplugged and come back.
    pub fn show(&mut self, picture: &Picture) -> Result<(), OledError> {
        let OledSettings { controller, size, contrast, .. } = self.settings;
        if picture.size() != size {
            let (picture, display) = (picture.size().rows(), size.rows());
            return Err(OledError::WrongSize { picture, display });
        }
        let before = self.shown.take();
        if before.is_none() {
            self.commands(&controller.setup(size, contrast))?;
        }
        let mut pages_before = before.iter().flat_map(Picture::pages);
        for (number, page) in (0..).zip(picture.pages()) {
            if pages_before.next() != Some(page) {
                self.commands(&controller.page_start(number))?;
                self.write(DATA, page)?;
            }
        }
        if before.is_none() {
            self.commands(&[DISPLAY_ON])?;
        }
        self.shown = Some(picture.clone());
        Ok(())
    }

    /// Lets the next picture set the display up again. A display that was without power between two
    /// pictures has answered both, and stays dark: only this brings it back.
    pub fn forget(&mut self) {
        self.shown = None;
    }

    /// Switches the display off. The next picture switches it on again.
    pub fn off(&mut self) -> Result<(), OledError> {
        self.shown = None;
        self.commands(&[DISPLAY_OFF])
    }

    fn commands(&mut self, commands: &[u8]) -> Result<(), OledError> {
        self.write(COMMANDS, commands)
    }

    fn write(&mut self, kind: u8, bytes: &[u8]) -> Result<(), OledError> {
        let address = self.settings.address;
        let message = [&[kind], bytes].concat();
        self.bus.write(address, &message).map_err(|error| OledError::of_bus(address, &error))
    }
}
