//! A daemon that always crashes.

fn main() {
    eprintln!("crash: this service never works");
    std::process::exit(7);
}
