//! Common requests of rtnetlink(7) for devices.

use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::{Error, Handle};

/// `EEXIST`.
const EEXIST: i32 = 17;

/// `ENODEV`, `EADDRNOTAVAIL`, `ESRCH` and `ENOENT`.
const NOT_FOUND: [i32; 4] = [19, 99, 3, 2];

fn number(error: &Error) -> Option<i32> {
    match error {
        Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

/// Treats "already exists" as success.
pub fn ignore_exists(error: Error) -> Result<(), Error> {
    if number(&error) == Some(EEXIST) { Ok(()) } else { Err(error) }
}

/// Treats "does not exist" as success.
pub fn ignore_missing(error: Error) -> Result<(), Error> {
    if number(&error).is_some_and(|it| NOT_FOUND.contains(&it)) { Ok(()) } else { Err(error) }
}

/// The index of the device `name`.
pub async fn index(handle: &Handle, name: &str) -> Result<Option<u32>, Error> {
    let mut found = handle.link().get().match_name(name.to_owned()).execute();
    match found.try_next().await {
        Ok(message) => Ok(message.map(|it| it.header.index)),
        Err(error) => ignore_missing(error).map(|()| None),
    }
}

pub async fn names(handle: &Handle) -> Result<Vec<String>, Error> {
    let all: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
    Ok(all.iter().filter_map(name).collect())
}

fn name(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}
