//! A well-behaved daemon: it answers each ping with its number and the count of pings, and logs it.
//! It logs its address.

use octet_guests::service::{notify, serve, unknown};
use serde_json::json;

fn main() -> std::io::Result<()> {
    let mut count = 0;
    serve(
        || notify("READY=1"),
        move |request| match request.verb.as_str() {
            "ping" => {
                count += 1;
                let number = request.args.get("n").cloned().unwrap_or_default();
                println!("ping {number}");
                Ok(json!({ "n": number, "count": count }))
            }
            "where" => Ok(json!(format!("{:p}", main as fn() -> std::io::Result<()>))),
            verb => Err(unknown(verb)),
        },
    )
}
