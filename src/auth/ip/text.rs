//! Reading addresses and prefixes.

use std::net::{IpAddr, Ipv4Addr};

use crate::auth::whitespace;

/// The address that a text names, and the part of the text that is its spelling.
pub(super) fn address(text: &str) -> Option<(&str, IpAddr)> {
    let first = text.split(',').next().unwrap_or(text);
    let bare = without_zone(without_port(whitespace::trim(first))?);
    if let Some((dotted, mapped)) = mapped_ipv4(bare) {
        return Some((dotted, IpAddr::V4(mapped)));
    }
    bare.parse().ok().map(|address| (bare, address))
}

/// The number of a prefix: one to three digits.
pub(super) fn prefix(text: &str) -> Option<u8> {
    let text = whitespace::trim(text);
    let well_formed = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    well_formed.then(|| text.parse().ok()).flatten()
}

/// `[v6]`, `[v6]:port` and `v4:port` lose their decoration; a lone colon elsewhere is part of IPv6.
fn without_port(text: &str) -> Option<&str> {
    if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']')?;
        let port = rest.strip_prefix(':');
        return (rest.is_empty() || port.is_some_and(is_port)).then_some(address);
    }
    match text.split_once(':') {
        Some((address, port)) if address.contains('.') && is_port(port) => Some(address),
        _ => Some(text),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn without_zone(text: &str) -> &str {
    text.split_once('%').map_or(text, |(address, _)| address)
}

fn mapped_ipv4(text: &str) -> Option<(&str, Ipv4Addr)> {
    let dotted = text.strip_prefix("::ffff:")?;
    dotted.parse().ok().map(|address| (dotted, address))
}
