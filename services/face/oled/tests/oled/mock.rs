//! A mock of an SSD1306 or SH1106 on an I2C bus.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_hal::i2c::{
    ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation, SevenBitAddress,
};
use octet_oled::{COLUMNS, OledController, OledDisplay, OledSettings, OledSize};

const ADDRESS: u8 = 0x3C;

/// Clones are the same display.
#[derive(Clone)]
pub struct MockDisplay(Rc<RefCell<Chip>>);

/// The registers of a controller. It accepts nothing that its data sheet does not have.
struct Chip {
    controller: OledController,
    memory: Vec<Vec<u8>>,
    page: usize,
    column: usize,
    is_on: bool,
    has_power: bool,
    is_remapped: [bool; 2],
    rows: u8,
    com_pins: u8,
    contrast: u8,
    /// `None`: a command takes the next byte.
    pending: Option<u8>,
    /// The transfers that are still acknowledged.
    transfers_left: usize,
    /// Fails instead of not acknowledging.
    fails: bool,
    log: Vec<Vec<u8>>,
}

impl Chip {
    fn new(controller: OledController) -> Self {
        let columns = match controller {
            OledController::Ssd1306 => 128,
            OledController::Sh1106 => 132,
        };
        Self {
            controller,
            // Random after power-on.
            memory: vec![vec![0xA5; columns]; 8],
            page: 0,
            column: 0,
            is_on: false,
            has_power: false,
            is_remapped: [false; 2],
            rows: 64,
            com_pins: 0x12,
            contrast: 0x80,
            pending: None,
            transfers_left: usize::MAX,
            fails: false,
            log: vec![],
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.log.push(bytes.to_vec());
        match bytes {
            [0x00, commands @ ..] => commands.iter().for_each(|&byte| self.command(byte)),
            [0x40, data @ ..] => data.iter().for_each(|&byte| self.data(byte)),
            _ => panic!("neither commands nor data: {bytes:02x?}"),
        }
    }

    fn command(&mut self, byte: u8) {
        use OledController::{Sh1106, Ssd1306};
        if let Some(command) = self.pending.take() {
            match (command, self.controller, byte) {
                (0x81, ..) => self.contrast = byte,
                (0xA8, ..) => self.rows = byte + 1,
                (0xDA, ..) => self.com_pins = byte,
                (0x8D, Ssd1306, _) => self.has_power = byte == 0x14,
                (0xAD, Sh1106, _) => self.has_power = byte == 0x8B,
                (0x20, Ssd1306, 0x02) | (0xD3, _, 0x00) | (0xD5 | 0xD9 | 0xDB, ..) => {}
                _ => panic!("{command:02x} {byte:02x}"),
            }
            return;
        }
        match (byte, self.controller) {
            (0x00..=0x0F, _) => self.column = self.column & 0xF0 | usize::from(byte),
            (0x10..=0x1F, _) => self.column = self.column & 0x0F | usize::from(byte & 0x0F) << 4,
            (0xB0..=0xB7, _) => self.page = usize::from(byte & 7),
            (0xA0 | 0xA1, _) => self.is_remapped[0] = byte == 0xA1,
            (0xC0 | 0xC8, _) => self.is_remapped[1] = byte == 0xC8,
            (0xAE | 0xAF, _) => self.is_on = byte == 0xAF,
            (0x81 | 0xA8 | 0xD3 | 0xD5 | 0xD9 | 0xDA | 0xDB, _)
            | (0x20 | 0x8D, Ssd1306)
            | (0xAD, Sh1106) => self.pending = Some(byte),
            (0x40 | 0xA4 | 0xA6 | 0xE3, _) | (0x2E, Ssd1306) | (0x30..=0x33, Sh1106) => {}
            _ => panic!("{byte:02x}"),
        }
    }

    fn data(&mut self, byte: u8) {
        let columns = self.memory[self.page].len();
        assert!(self.column < columns, "column {}", self.column);
        self.memory[self.page][self.column] = byte;
        self.column += 1;
        if let (OledController::Ssd1306, true) = (self.controller, self.column == columns) {
            self.column = 0;
        }
    }
}

impl ErrorType for MockDisplay {
    type Error = ErrorKind;
}

impl I2c for MockDisplay {
    fn transaction(
        &mut self,
        address: SevenBitAddress,
        operations: &mut [Operation<'_>],
    ) -> Result<(), ErrorKind> {
        let mut chip = self.0.borrow_mut();
        if chip.transfers_left == 0 && chip.fails {
            return Err(ErrorKind::Bus);
        }
        if address != ADDRESS || chip.transfers_left == 0 {
            return Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address));
        }
        chip.transfers_left -= 1;
        for operation in operations {
            match operation {
                Operation::Write(bytes) => chip.receive(bytes),
                Operation::Read(_) => panic!("the displays cannot be read everywhere"),
            }
        }
        Ok(())
    }
}

impl MockDisplay {
    pub fn new(controller: OledController) -> Self {
        Self(Rc::new(RefCell::new(Chip::new(controller))))
    }

    /// The driver of this display.
    pub fn driver(&self, size: OledSize) -> OledDisplay<Self> {
        let controller = self.0.borrow().controller;
        let settings = OledSettings { controller, size, address: ADDRESS, contrast: 0x20 };
        OledDisplay::new(self.clone(), settings)
    }

    /// Unplugs it after so many transfers.
    pub fn unplug_after(&self, transfers: usize) {
        let mut chip = self.0.borrow_mut();
        chip.transfers_left = transfers;
        chip.fails = false;
    }

    pub fn fail_after(&self, transfers: usize) {
        let mut chip = self.0.borrow_mut();
        chip.transfers_left = transfers;
        chip.fails = true;
    }

    /// Plugs it in again, without what it had in memory.
    pub fn plug(&self) {
        let controller = self.0.borrow().controller;
        *self.0.borrow_mut() = Chip::new(controller);
    }

    /// What came over the bus since the last call.
    pub fn take_log(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.borrow_mut().log)
    }

    pub fn contrast(&self) -> u8 {
        self.0.borrow().contrast
    }

    pub fn is_on(&self) -> bool {
        self.0.borrow().is_on
    }

    /// What a person sees: a line of `#` and `.` for each row.
    pub fn seen(&self) -> String {
        let chip = self.0.borrow();
        assert!(chip.has_power && chip.is_on && chip.pending.is_none());
        assert_eq!(chip.is_remapped, [true; 2]);
        let com_pins = if chip.rows == 32 { 0x02 } else { 0x12 };
        assert_eq!(chip.com_pins, com_pins);
        let first = (chip.memory[0].len() - COLUMNS) / 2;
        let pixel = |x: usize, y: usize| match chip.memory[y / 8][first + x] >> (y % 8) & 1 {
            1 => '#',
            _ => '.',
        };
        let line = |y| (0..COLUMNS).map(move |x| pixel(x, y)).chain(['\n']);
        (0..usize::from(chip.rows)).flat_map(line).collect()
    }
}
