//! A monochrome picture, in the order in which the displays hold it.

/// The columns of every picture.
pub const COLUMNS: usize = 128;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OledSize {
    /// 128x32
    Rows32,
    /// 128x64
    Rows64,
}

impl OledSize {
    pub fn rows(self) -> usize {
        match self {
            Self::Rows32 => 32,
            Self::Rows64 => 64,
        }
    }
}

/// A row of bytes stands for eight rows of pixels, which the data sheets call a page: one byte for
/// each column, with the uppermost pixel in its lowest bit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Picture {
    size: OledSize,
    bytes: Vec<u8>,
}

impl Picture {
    /// A dark picture.
    pub fn new(size: OledSize) -> Self {
        Self { size, bytes: vec![0; COLUMNS * size.rows() / 8] }
    }

    pub fn size(&self) -> OledSize {
        self.size
    }

    /// Whether a pixel is lit. Pixels outside of the picture are not.
    pub fn is_lit(&self, x: usize, y: usize) -> bool {
        let byte = self.bytes.get(y / 8 * COLUMNS + x).filter(|_| x < COLUMNS);
        byte.is_some_and(|byte| byte >> (y % 8) & 1 == 1)
    }

    /// The pages from the top, each of [`COLUMNS`] bytes.
    pub fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(COLUMNS)
    }

    pub(crate) fn set(&mut self, x: usize, y: usize, is_lit: bool) {
        if x >= COLUMNS {
            return;
        }
        if let Some(byte) = self.bytes.get_mut(y / 8 * COLUMNS + x) {
            let bit = 1 << (y % 8);
            *byte = if is_lit { *byte | bit } else { *byte & !bit };
        }
    }
}
