//! Address rules.

use std::net::IpAddr;

use crate::auth::{AllowList, ClientAddress, IpRule};
use crate::store::AllowedIps;

/// The first line is a caller's address, the others are rules. Rules are stored in a form that reads
/// back as itself, a list is taken whole or not at all, what cannot be read never opens it, and an
/// address matches a rule when their first bits are equal.
pub fn ip(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mut lines = text.split('\n');
    let client = lines.next().and_then(ClientAddress::parse);
    let entries: Vec<&str> = lines.collect();
    if let Some(client) = client {
        printed_address_reads_back(client);
    }
    let rules: Vec<IpRule> = entries.iter().filter_map(|entry| IpRule::parse(entry).ok()).collect();
    rules.iter().for_each(rule_reads_back);
    taken_whole_or_not_at_all(&entries, &rules);
    let stored = AllowList::from_stored(&entries);
    assert_eq!(stored.rules(), rules);
    assert_eq!(stored.is_restricted(), !entries.is_empty());
    if let Some(client) = client {
        for rule in &rules {
            assert_eq!(rule.matches(client), shares_prefix(rule, client.ip()), "{}", rule.as_str());
        }
        let matched = rules.iter().any(|rule| rule.matches(client));
        assert_eq!(stored.allows(client), entries.is_empty() || matched);
    }
}

/// What the standard library prints of a mapped address is the form that counts as IPv4.
fn printed_address_reads_back(client: ClientAddress) {
    let printed = client.ip().to_string();
    let read = ClientAddress::parse(&printed).map(ClientAddress::ip);
    assert_eq!(read, Some(client.ip().to_canonical()), "{printed}");
    for decorated in [format!(" {printed} , 9.9.9.9"), format!("{printed}%eth0")] {
        assert_eq!(ClientAddress::parse(&decorated).map(ClientAddress::ip), read, "{decorated}");
    }
}

fn rule_reads_back(rule: &IpRule) {
    assert_eq!(IpRule::parse(rule.as_str()).as_ref().ok(), Some(rule));
    let own = rule.as_str().split('/').next().and_then(ClientAddress::parse);
    assert!(own.is_some_and(|own| rule.matches(own)), "{} is not its own", rule.as_str());
}

fn taken_whole_or_not_at_all(entries: &[&str], rules: &[IpRule]) {
    let parsed = AllowList::parse(entries).ok();
    assert_eq!(parsed.is_some(), rules.len() == entries.len());
    let normal = AllowedIps::parse(entries).ok();
    assert_eq!(normal.is_some(), parsed.is_some());
    if let (Some(parsed), Some(normal)) = (parsed, normal) {
        assert_eq!(AllowList::parse(normal.as_slice()).as_ref().ok(), Some(&parsed));
        assert_eq!(AllowedIps::parse(normal.as_slice()).as_ref().ok(), Some(&normal));
    }
}

/// Bit by bit, from the text of the rule.
fn shares_prefix(rule: &IpRule, client: IpAddr) -> bool {
    let (address, prefix) = match rule.as_str().split_once('/') {
        Some((address, prefix)) => (address, prefix.parse().ok()),
        None => (rule.as_str(), None),
    };
    let Some(address) = ClientAddress::parse(address).map(ClientAddress::ip) else { return false };
    address.is_ipv4() == client.is_ipv4()
        && bits(address).iter().zip(bits(client)).take(prefix.unwrap_or(128)).all(|(a, b)| *a == b)
}

fn bits(address: IpAddr) -> Vec<bool> {
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    octets.iter().flat_map(|octet| (0..8).map(move |bit| octet >> (7 - bit) & 1 == 1)).collect()
}
