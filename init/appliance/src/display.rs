//! `[display]`: an OLED display at an I2C bus of each node.

use serde::{Deserialize, Serialize};

/// `[display]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisplaySection {
    pub controller: DisplayController,
    pub size: DisplaySize,
    /// The number N of `/dev/i2c-N`; without it, the first bus at which a display answers.
    #[serde(default)]
    pub bus: Option<u8>,
}

/// The chip of a display. The two cannot be told apart by what they answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisplayController {
    Ssd1306,
    Sh1106,
}

/// Its size in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisplaySize {
    #[serde(rename = "128x64")]
    Rows64,
    #[serde(rename = "128x32")]
    Rows32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Appliance;

    const REST: &str = "[appliance]\nname = \"octet\"\n[image]\npackages = []\ndrivers = []\nmodules = []\nservices = []\n";

    #[test]
    fn a_display_is_a_controller_and_a_size() {
        let parse = |section: &str| Appliance::parse("appliance.toml", &format!("{REST}{section}"));
        assert_eq!(parse("").unwrap().display, None);
        let display = parse("[display]\ncontroller = \"sh1106\"\nsize = \"128x64\"\n");
        let wanted = DisplaySection {
            controller: DisplayController::Sh1106,
            size: DisplaySize::Rows64,
            bus: None,
        };
        assert_eq!(display.unwrap().display, Some(wanted));
        for bad in [
            "[display]\n",
            "[display]\ncontroller = \"ssd1306\"\n",
            "[display]\ncontroller = \"st7735\"\nsize = \"128x64\"\n",
            "[display]\ncontroller = \"ssd1306\"\nsize = \"64x48\"\n",
            "[display]\ncontroller = \"ssd1306\"\nsize = \"128x32\"\nbus = 256\n",
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("appliance.toml:"), "{error}");
        }
    }
}
