//! Writes a text to a file: `put PATH TEXT`.

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(path), Some(text)) => std::fs::write(path, text),
        _ => Err(std::io::Error::other("put PATH TEXT")),
    }
}
