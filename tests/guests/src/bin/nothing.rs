//! Does nothing and succeeds: it replaces a program whose work has to be left out.

fn main() {}
