//! Octet's guest: the image as it ships, with the trivial units in the place of its own.

use octet_appliance::{FileError, UNITS, UnitSource};

use super::programs::Programs;
use octet_image::build::{self, CustomInitrd, Options};
use octet_image::{Because, ImageUnits, NodeOrigin, TreeNode};

pub fn build(options: &Options, programs: &Programs, units: u32) -> miette::Result<CustomInitrd> {
    let list = sources(units).map_err(|error| *error)?;
    build::initrd_with(options, |tree| {
        for (path, program) in
            [("/usr/lib/octet/idle", &programs.idle), ("/usr/lib/octet/referee", &programs.referee)]
        {
            let because = Because::always("a benchmark runs it");
            tree.put(path, TreeNode::file(program.clone(), 0o755, NodeOrigin::Generated, because))?;
        }
        tree.take(UNITS);
        Ok(ImageUnits::from_sources(list).put_list(tree)?)
    })
}

/// The units, through the language they are written in.
fn sources(units: u32) -> Result<Vec<UnitSource>, Box<FileError>> {
    let parse = |file: &str, text: String| UnitSource::parse(file.to_owned(), text);
    let unit = |n: u32| include_str!("octet/unit.toml").replace("{n}", &n.to_string());
    let mut all: Vec<_> =
        (1..=units).map(|n| parse("octet/unit.toml", unit(n))).collect::<Result<_, _>>()?;
    all.push(parse("octet/referee.toml", include_str!("octet/referee.toml").to_owned())?);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_are_such_as_the_language_allows() {
        let units = sources(3).unwrap();
        let names: Vec<_> = units.iter().map(|it| it.unit.name.as_str()).collect();
        assert_eq!(names, ["idle-1", "idle-2", "idle-3", "referee"]);
        assert_eq!(units[1].unit.args, ["2"]);
    }
}
