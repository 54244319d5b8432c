//! The machine as its kernel sees it, for `status`: which one it is, how warm, and how fast it runs.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// Where the firmware says which machine it is: device tree, then SMBIOS.
const MODELS: [&str; 2] = ["firmware/devicetree/base/model", "class/dmi/id/product_name"];

/// Reads it below `sys`, where the kernel's sysfs is. What a machine does not have is null.
pub fn read(sys: &Path) -> Value {
    let model = MODELS.iter().find_map(|path| text(&sys.join(path)));
    json!({
        "model": model,
        "temperature_celsius": temperature(sys).map(|thousandths| thousandths as f64 / 1000.0),
        "cpu_mhz": frequency(sys).map(|kilohertz| kilohertz / 1000),
    })
}

/// The highest temperature of any zone, in thousandths of a degree (Documentation/driver-api/thermal/sysfs-api.rst).
fn temperature(sys: &Path) -> Option<i64> {
    numbers(&sys.join("class/thermal"), "thermal_zone", "temp").max()
}

/// The highest frequency of any processor now, in kHz (Documentation/admin-guide/pm/cpufreq.rst).
fn frequency(sys: &Path) -> Option<i64> {
    numbers(&sys.join("devices/system/cpu/cpufreq"), "policy", "scaling_cur_freq").max()
}

/// The numbers in the files `file` of the folders whose names begin with `start`.
fn numbers<'a>(
    folder: &Path,
    start: &'a str,
    file: &'a str,
) -> impl Iterator<Item = i64> + use<'a> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(move |it| it.file_name().to_string_lossy().starts_with(start));
    ours.filter_map(move |entry| text(&entry.path().join(file))?.parse().ok())
}

/// The text of a file without what ends it: a line's end, or a zero byte in a device tree.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim_end_matches(['\0', '\n']).trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_board() {
        let sys = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let none = json!({ "model": null, "temperature_celsius": null, "cpu_mhz": null });
        assert_eq!(read(sys.path()), none);
        put("class/dmi/id/product_name", "PC\n");
        put("firmware/devicetree/base/model", "FriendlyARM NanoPi NEO 2\0");
        put("class/thermal/thermal_zone0/temp", "45250\n");
        put("class/thermal/thermal_zone1/temp", "-1000\n");
        put("class/thermal/thermal_zone2/temp", "no number\n");
        put("class/thermal/cooling_device0/temp", "99000\n");
        put("devices/system/cpu/cpufreq/policy0/scaling_cur_freq", "480000\n");
        put("devices/system/cpu/cpufreq/policy4/scaling_cur_freq", "1008000\n");
        let board = json!({
            "model": "FriendlyARM NanoPi NEO 2", "temperature_celsius": 45.25, "cpu_mhz": 1008
        });
        assert_eq!(read(sys.path()), board);
    }
}
