//! Does nothing, and that well: in place of a program whose work is to be left undone.

fn main() {}
