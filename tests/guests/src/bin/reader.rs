//! Reads `[appliance]`, and logs the values. It refuses a name that begins with `refused`, and
//! fails to apply one that begins with `broken`.

use octet_guests::service::{Answer, notify, serve, unknown};
use octet_node::control::settings::{APPLY, CHECK};
use octet_node::control::{Failure, FailureCode};
use octet_node::section;
use octet_node::settings::next_section;
use serde_json::{Value, json};

fn name(section: &Value) -> String {
    section["name"].as_str().unwrap_or_default().to_owned()
}

fn no(why: &str, name: &str) -> Answer {
    Err(Failure::new(FailureCode::Failed, format!("{why}: {name}"), "give it another name"))
}

fn main() -> std::io::Result<()> {
    let mut has = name(&section("appliance").map_err(std::io::Error::other)?);
    let mut told = vec![has.clone()];
    serve(
        || notify("READY=1"),
        move |request| match request.verb.as_str() {
            CHECK => match name(&next_section("appliance")?) {
                name if name.starts_with("refused") => no("I do not like it", &name),
                _ => Ok(Value::Null),
            },
            APPLY => {
                has = name(&section("appliance")?);
                told.push(has.clone());
                if has.starts_with("broken") { no("I cannot", &has) } else { Ok(Value::Null) }
            }
            "has" => Ok(json!({ "name": has, "told": told })),
            "peek" => {
                let wanted = request.args["section"].as_str().unwrap_or_default();
                Ok(section::<Value>(wanted)?)
            }
            verb => Err(unknown(verb)),
        },
    )
}
