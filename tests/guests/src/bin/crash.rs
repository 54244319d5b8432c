//! A daemon that never works.

fn main() {
    eprintln!("crash: this service never works");
    std::process::exit(7);
}
