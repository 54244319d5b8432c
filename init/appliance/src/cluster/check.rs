//! Checks constraints between `[cluster]`, `[[board]]`, `[lan]` and `[network]`.

use std::collections::BTreeMap;

use super::{Board, Cluster, Lan, RouterKind};
use crate::document::span_of;
use crate::file_error::FileError;
use crate::network::NetworkSettings;

impl Cluster {
    /// Checks constraints between these sections, which were read from `text`, the content of
    /// `file`.
    pub(crate) fn check(
        &self,
        boards: &[Board],
        lan: Option<&Lan>,
        network: &NetworkSettings,
        (file, text): (&str, &str),
    ) -> Result<(), Box<FileError>> {
        let wrong = |keys: &[&str], message: String, hint: &str| {
            Err(FileError::new(file, text, span_of(text, keys), message, hint))
        };
        if self.ports.len() != usize::from(self.boards) {
            let message =
                format!("{} devices are named for {} boards", self.ports.len(), self.boards);
            return wrong(&["cluster", "ports"], message, "name one for each board, or none");
        }
        if let Some(link) = network.link.as_ref().filter(|link| **link != self.uplink) {
            let message = format!("the router's uplink is `{}`, not `{link}`", self.uplink);
            return wrong(&["network", "link"], message, "leave this line out");
        }
        let mut devices = BTreeMap::from([(self.uplink.clone(), "the uplink".to_owned())]);
        for (index, port) in self.ports.iter().enumerate() {
            let what = format!("port {}", index + 1);
            if let Some(other) = devices.insert(port.clone(), what.clone()) {
                let message = format!("`{port}` cannot be both {other} and {what}");
                let keys = ["cluster", "ports", &index.to_string()];
                return wrong(&keys, message, "each device is for one thing");
            }
        }
        if let Some(lan) = lan {
            let device = self.lan(lan);
            if let Some(other) = devices.get(&device) {
                let message = format!("`{device}` cannot be both {other} and lan");
                let hint = "each device is for one thing: name another with `port`";
                return wrong(&["lan", "port"], message, hint);
            }
        }
        self.check_boards(boards, (file, text))
    }

    fn check_boards(
        &self,
        boards: &[Board],
        (file, text): (&str, &str),
    ) -> Result<(), Box<FileError>> {
        let wrong = |index: usize, key: &str, message: String, hint: &str| {
            let at = span_of(text, &["board", &index.to_string(), key]);
            Err(FileError::new(file, text, at, message, hint))
        };
        let mut taken = BTreeMap::new();
        for number in 1..=self.boards {
            let port = self.port(boards, number);
            if let Some(other) = taken.insert(port, number)
                && let Some(index) = boards.iter().position(|board| board.port == Some(port))
            {
                let message = format!("boards {other} and {number} cannot both have port {port}");
                return wrong(index, "port", message, "give the other one a port, too");
            }
        }
        for (index, board) in boards.iter().enumerate() {
            let before = &boards[..index];
            let of = |port: u8| (1..=self.boards).contains(&port);
            if !of(board.number) {
                let message =
                    format!("there is no board {}: the box has {}", board.number, self.boards);
                return wrong(index, "number", message, "see `boards` in [cluster]");
            }
            if before.iter().any(|other| other.number == board.number) {
                let message = format!("board {} is there twice", board.number);
                return wrong(index, "number", message, "say all about it in one place");
            }
            if let Some(port) = board.port.filter(|port| !of(*port)) {
                let message = format!("there is no port {port}: the box has {}", self.boards);
                return wrong(index, "port", message, "see `boards` in [cluster]");
            }
            if let Some(mac) = board.mac
                && let Some(other) = before.iter().find(|other| other.mac == Some(mac))
            {
                let message = format!("board {} has the address {mac}, too", other.number);
                return wrong(index, "mac", message, "each device has its own");
            }
            if let Some(key) = board.key
                && let Some(other) = before.iter().find(|other| other.key == Some(key))
            {
                let message = format!("board {} has the key {key}, too", other.number);
                return wrong(index, "key", message, "each node has its own");
            }
            for (nth, name) in board.services.iter().enumerate() {
                if board.services[..nth].contains(name) {
                    let keys = ["board", &index.to_string(), "services", &nth.to_string()];
                    let message = format!("`{name}` is there twice");
                    let at = span_of(text, &keys);
                    return Err(FileError::new(file, text, at, message, "remove one of them"));
                }
            }
        }
        self.check_manager(boards, (file, text))
    }

    /// There is exactly one coordinator: our router, or else one board.
    fn check_manager(
        &self,
        boards: &[Board],
        (file, text): (&str, &str),
    ) -> Result<(), Box<FileError>> {
        let all = boards.iter().enumerate().filter(|(_, board)| board.is_manager());
        let mut managers = all.map(|(index, board)| (index, board.number));
        let wrong = |keys: &[&str], message: String, hint: &str| {
            Err(FileError::new(file, text, span_of(text, keys), message, hint))
        };
        match (&self.router, managers.next(), managers.next()) {
            (RouterKind::Octet, Some((index, number)), _) => {
                let message = format!(
                    "board {number} cannot be the manager: the router, which runs Octet, holds the map"
                );
                let hint = "give it another role, or say `router = \"openwrt\"` in [cluster]";
                wrong(&["board", &index.to_string(), "role"], message, hint)
            }
            (RouterKind::OpenWrt(_), None, _) => {
                let message = "no board has the role `manager`, and a router with OpenWrt cannot \
                               hold the map"
                    .to_owned();
                let hint = "say `role = \"manager\"` in the [[board]] that is to hold it";
                wrong(&["cluster", "router"], message, hint)
            }
            (RouterKind::OpenWrt(_), Some((_, first)), Some((index, second))) => {
                let message = format!("boards {first} and {second} cannot both be the manager");
                let hint = "one board holds the map: give the other one another role";
                wrong(&["board", &index.to_string(), "role"], message, hint)
            }
            _ => Ok(()),
        }
    }
}
