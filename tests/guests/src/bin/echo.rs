//! A good citizen: answers every ping with its number and how many there were, and logs each. It says at which
//! address it is.

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
