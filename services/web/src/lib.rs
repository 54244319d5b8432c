//! The box's pages in the owner's browser: an HTTP server on the owner's own machine, which gets everything through the
//! gate of the box. It knows neither keys nor TLS: `octetctl` passes a function that connects to a node.

mod answer;
mod app;
mod events;
mod figures;
mod guard;
mod install;
mod nodes;
mod oled;
mod pages;
mod permitted;
mod plan;
mod server;
mod session;
mod stream;
mod text;
mod upload;

pub use app::Clock;
pub use nodes::{Connect, ConnectionUse, HOME, NodeClient, NodeError, NodeStream};
pub use server::{WebLimits, WebLinks, WebServer};
