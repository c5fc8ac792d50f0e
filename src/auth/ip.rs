//! Allow-lists of client addresses.
//!
//! Texts are read as the deployed verifiers read them: white space, a list of which the first entry
//! counts, brackets, an IPv4 port, an IPv6 zone. An IPv4-mapped IPv6 address is its IPv4 address
//! when it is written `::ffff:` and dotted, as sockets and proxies write it; other spellings of it
//! stay IPv6.

mod text;

use std::net::{IpAddr, Ipv6Addr};

use crate::error::{Error, Result};

/// The address of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Reads what a proxy wrote about a caller, for example `10.0.0.1:1234`, `[2001:db8::5]:443` or
    /// `10.0.0.1, 9.9.9.9`. `None` when no address stands there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text::address(text).map(|(_, address)| Self(address))
    }

    /// The address. Never an IPv4-mapped one that came from a socket.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0
    }
}

/// The address of a connection. A dual-stack socket reports IPv4 callers as IPv4-mapped IPv6; they
/// count as IPv4.
impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }
}

/// One rule: an address, or a block in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IpRule {
    /// As it is stored and sent: the address in the spelling it came with, and the prefix.
    text: String,
    address: IpAddr,
    prefix: u8,
}

impl IpRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// `InvalidOptions` when it is neither an address nor a block.
    pub fn parse(rule: &str) -> Result<Self> {
        Self::read(rule).ok_or_else(|| Error::invalid("IP rule", EXPECTED))
    }

    /// The rule as it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the address is the rule's own, or in its block. IPv4 and IPv6 never match each other.
    #[must_use]
    pub fn matches(&self, client: ClientAddress) -> bool {
        match (self.address, client.0) {
            (IpAddr::V4(rule), IpAddr::V4(client)) => {
                let host_bits = 32 - u32::from(self.prefix);
                let differing = rule.to_bits() ^ client.to_bits();
                differing.checked_shr(host_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(rule), IpAddr::V6(client)) => self.matches_v6(rule, client),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn matches_v6(&self, rule: Ipv6Addr, client: Ipv6Addr) -> bool {
        let host_bits = 128 - u32::from(self.prefix);
        let differing = rule.to_bits() ^ client.to_bits();
        differing.checked_shr(host_bits).unwrap_or(0) == 0
    }

    /// The address is read before the prefix is judged, so a mapped address takes an IPv4 prefix:
    /// `::ffff:10.0.0.0/104` is refused. What follows a second slash is ignored.
    fn read(rule: &str) -> Option<Self> {
        let mut parts = rule.split('/');
        let (text, address) = text::address(parts.next()?)?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        Some(match parts.next() {
            None => Self { text: text.to_owned(), address, prefix: widest },
            Some(prefix) => {
                let prefix = text::prefix(prefix).filter(|&prefix| prefix <= widest)?;
                Self { text: format!("{text}/{prefix}"), address, prefix }
            }
        })
    }
}

/// From where a credential may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowList {
    rules: Vec<IpRule>,
    /// Kept apart from `rules.is_empty()`: a stored list of which nothing could be read restricts,
    /// and lets nobody in.
    restricted: bool,
}

impl AllowList {
    /// A list that allows every address.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { rules: Vec::new(), restricted: false }
    }

    /// Reads a list that somebody asks to be stored. An empty one allows every address.
    ///
    /// # Errors
    /// `InvalidOptions` naming the index of the first entry that is no rule. Nothing of the list is
    /// taken then.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self> {
        let rules = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                IpRule::read(entry.as_ref())
                    .ok_or_else(|| Error::invalid(&format!("allowedIps[{index}]"), EXPECTED))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { restricted: !rules.is_empty(), rules })
    }

    /// Reads a list that lies in a store, perhaps since before entries were checked. Entries that
    /// are no rule match nobody; they never open the list.
    #[must_use]
    pub fn from_stored<S: AsRef<str>>(entries: &[S]) -> Self {
        Self {
            rules: entries.iter().filter_map(|entry| IpRule::read(entry.as_ref())).collect(),
            restricted: !entries.is_empty(),
        }
    }

    /// Whether callers must have a known address at all.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        self.restricted
    }

    /// Whether the address may use the credential.
    #[must_use]
    pub fn allows(&self, client: ClientAddress) -> bool {
        !self.restricted || self.rules.iter().any(|rule| rule.matches(client))
    }

    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[IpRule] {
        &self.rules
    }
}

const EXPECTED: &str = "an IPv4 or IPv6 address, or a block such as 10.0.0.0/8 or 2001:db8::/32";

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        ClientAddress::parse(text).unwrap()
    }

    #[test]
    fn a_list_with_one_bad_entry_is_refused_and_the_error_names_its_place() {
        let error = AllowList::parse(&["10.0.0.0/8", "::1", "10.0.0.0/33"]).unwrap_err();
        assert!(error.to_string().starts_with("allowedIps[2]: expected an IPv4"), "{error}");
    }

    #[test]
    fn a_stored_list_of_which_nothing_can_be_read_lets_nobody_in() {
        let list = AllowList::from_stored(&["bad", ""]);
        assert!(list.is_restricted());
        assert!(!list.allows(client("10.0.0.1")));
        assert!(!list.allows(client("::1")));
    }

    #[test]
    fn a_caller_on_a_dual_stack_socket_counts_as_ipv4() {
        let socket: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(AllowList::parse(&["10.0.0.0/8"]).unwrap().allows(socket.into()));
        assert!(!AllowList::parse(&["::/0"]).unwrap().allows(socket.into()));
    }

    #[test]
    fn every_prefix_length_matches_exactly_its_block() {
        for prefix in 0..=32_u32 {
            let rule = IpRule::parse(&format!("170.170.170.170/{prefix}")).unwrap();
            for bit in 0..32_u32 {
                let other = std::net::Ipv4Addr::from_bits(0xaaaa_aaaa ^ (1 << (31 - bit)));
                assert_eq!(rule.matches(IpAddr::V4(other).into()), bit >= prefix, "{prefix} {bit}");
            }
        }
        for prefix in 0..=128_u32 {
            let rule = IpRule::parse(&format!("2001:db8::/{prefix}")).unwrap();
            let base = "2001:db8::".parse::<Ipv6Addr>().unwrap().to_bits();
            for bit in 0..128_u32 {
                let other = Ipv6Addr::from_bits(base ^ (1 << (127 - bit)));
                assert_eq!(rule.matches(IpAddr::V6(other).into()), bit >= prefix, "{prefix} {bit}");
            }
        }
    }

    #[test]
    fn a_rule_keeps_its_meaning_when_read_back_from_the_store() {
        for rule in
            ["10.1.2.3/8", " [::1]:80 ", "2001:DB8::%eth0/32", "::ffff:1.2.3.4/24", "1.2.3.4:5"]
        {
            let first = IpRule::parse(rule).unwrap();
            assert_eq!(IpRule::parse(first.as_str()).unwrap(), first, "{rule}");
        }
    }
}
