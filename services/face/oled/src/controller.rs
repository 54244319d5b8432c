//! The two controllers, by their data sheets: Solomon Systech SSD1306 (Rev 1.1), Sino Wealth SH1106
//! (V2.3).

use crate::picture::OledSize;

/// The controller of a display. It is a setting, as is the number of rows: both controllers answer
/// at the same addresses, and neither has a command that tells its name or its rows. Their status
/// byte is not made for it, and not every module lets a host read it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OledController {
    Ssd1306,
    Sh1106,
}

/// Precedes commands, until the end of the transfer.
pub(crate) const COMMANDS: u8 = 0x00;

/// Precedes bytes of the picture, until the end of the transfer.
pub(crate) const DATA: u8 = 0x40;

pub(crate) const DISPLAY_OFF: u8 = 0xAE;
pub(crate) const DISPLAY_ON: u8 = 0xAF;
pub(crate) const NOP: u8 = 0xE3;

impl OledController {
    /// The commands after which pages can be written. The display stays off, since its memory has
    /// random content after power-on.
    pub(crate) fn setup(self, size: OledSize, contrast: u8) -> Vec<u8> {
        let (last_row, com_pins) = match size {
            // One COM line for each row, in their order.
            OledSize::Rows32 => (31, 0x02),
            // COM lines alternate between both sides of the panel.
            OledSize::Rows64 => (63, 0x12),
        };
        let mut commands = vec![
            DISPLAY_OFF,
            0xA8, // rows
            last_row,
            0xD3, // no vertical offset
            0x00,
            0x40, // the first row is row 0
            0xA1, // columns and rows from the other end, as panels are built
            0xC8,
            0xDA,
            com_pins,
            0x81,
            contrast,
        ];
        let own: &[u8] = match self {
            Self::Ssd1306 => &[
                0x20, 0x02, // page addressing, which is all that the SH1106 has
                0x8D, 0x14, // charge pump on
                0xD5, 0x80, // clock: as after reset
                0xD9, 0x22, // pre-charge: as after reset
                0xDB, 0x20, // VCOMH: as after reset
                0x2E, // no scrolling
            ],
            Self::Sh1106 => &[
                0xAD, 0x8B, // DC-DC converter on with the display
                0x32, // its voltage: 8.0 V, as after reset
                0xD5, 0x50, // clock: as after reset
                0xD9, 0x22, // pre-charge: as after reset
                0xDB, 0x35, // VCOM: as after reset
            ],
        };
        commands.extend(own);
        // Shows the memory, not inverted.
        commands.extend([0xA4, 0xA6]);
        commands
    }

    /// The commands after which the bytes of a page are written, from its first column on.
    pub(crate) fn page_start(self, page: u8) -> [u8; 3] {
        // The SH1106 has 132 columns, and panels of 128 use those in the middle.
        let column: u8 = match self {
            Self::Ssd1306 => 0,
            Self::Sh1106 => 2,
        };
        [0xB0 | page & 7, column & 0x0F, 0x10 | column >> 4]
    }
}
