//! From where a request came, when proxies stand before the service.

use std::net::IpAddr;

use super::ip::{ClientAddress, IpRule};
use crate::error::Result;

/// The proxies whose word about their caller counts. Empty unless configured: then the connection's
/// own address is the client's, whatever a header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpRule>);

impl TrustedProxies {
    /// Reads addresses and blocks.
    ///
    /// # Errors
    /// `InvalidOptions` when one of them is no rule.
    pub fn parse<S: AsRef<str>>(rules: &[S]) -> Result<Self> {
        rules.iter().map(|rule| IpRule::parse(rule.as_ref())).collect::<Result<_>>().map(Self)
    }

    /// The client's address: the connection's, unless that is a trusted proxy. Then it is the
    /// right-most address in `x-forwarded-for` that is no trusted proxy, since what stands left of
    /// it was written by somebody who is not trusted. `None` when that place holds no address: it is
    /// not skipped, because what stands left of it is hearsay.
    ///
    /// `forwarded_for` are the values of all headers of that name, in the order received.
    #[must_use]
    pub fn client_address<'a>(
        &self,
        connection: Option<IpAddr>,
        forwarded_for: impl DoubleEndedIterator<Item = &'a str>,
    ) -> Option<ClientAddress> {
        let mut nearest = ClientAddress::from(connection?);
        if !self.trusts(nearest) {
            return Some(nearest);
        }
        for entry in forwarded_for.rev().flat_map(|value| value.rsplit(',')) {
            nearest = ClientAddress::from(ClientAddress::parse(entry)?.ip());
            if !self.trusts(nearest) {
                return Some(nearest);
            }
        }
        // Proxies all the way: the furthest one made the request itself.
        Some(nearest)
    }

    fn trusts(&self, address: ClientAddress) -> bool {
        self.0.iter().any(|rule| rule.matches(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(proxies: &[&str], connection: &str, headers: &[&str]) -> Option<String> {
        let proxies = TrustedProxies::parse(proxies).unwrap();
        let connection = Some(connection.parse().unwrap());
        let client = proxies.client_address(connection, headers.iter().copied());
        client.map(|client| client.ip().to_string())
    }

    #[test]
    fn a_header_from_an_address_that_is_no_proxy_is_ignored() {
        assert_eq!(seen(&[], "9.9.9.9", &["10.0.0.1"]).unwrap(), "9.9.9.9");
        assert_eq!(seen(&["10.0.0.0/8"], "9.9.9.9", &["10.0.0.1"]).unwrap(), "9.9.9.9");
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_counts_over_all_headers() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        let client = |headers: &[&str]| seen(&proxies, "10.0.0.1", headers);
        assert_eq!(client(&["1.1.1.1, 2.2.2.2"]).unwrap(), "2.2.2.2");
        assert_eq!(client(&["1.1.1.1", "2.2.2.2, 10.9.9.9"]).unwrap(), "2.2.2.2");
        assert_eq!(client(&["6.6.6.6, 2.2.2.2:81,[fd00::1]:9"]).unwrap(), "2.2.2.2");
        assert_eq!(client(&[]).unwrap(), "10.0.0.1");
        assert_eq!(client(&["10.2.2.2, 10.3.3.3"]).unwrap(), "10.2.2.2");
        assert_eq!(seen(&proxies, "::ffff:10.0.0.1", &["2.2.2.2"]).unwrap(), "2.2.2.2");
    }

    #[test]
    fn a_place_without_an_address_hides_what_stands_left_of_it() {
        for broken in ["1.1.1.1, unknown", "1.1.1.1,", "1.1.1.1, 10.0.0.300", ""] {
            assert_eq!(seen(&["10.0.0.0/8"], "10.0.0.1", &[broken]), None, "{broken}");
        }
    }

    #[test]
    fn an_unknown_connection_has_no_client_whatever_the_header_says() {
        let proxies = TrustedProxies::parse(&["0.0.0.0/0"]).unwrap();
        assert_eq!(proxies.client_address(None, ["1.1.1.1"].into_iter()), None);
    }

    #[test]
    fn a_list_with_one_bad_rule_is_refused_whole() {
        assert!(TrustedProxies::parse(&["10.0.0.1", "10.0.0.0/33"]).is_err());
    }
}
