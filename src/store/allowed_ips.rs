//! An allow-list as it is stored.

use crate::auth::AllowList;
use crate::error::Result;

/// Address rules that are known to be valid, in the form in which they are stored and sent. An
/// empty list allows every address. [`AllowList`] is the form that addresses are matched against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedIps(Vec<String>);

impl AllowedIps {
    /// Checks a list: single addresses or CIDR, IPv4 and IPv6.
    ///
    /// # Errors
    /// `InvalidOptions`, naming the first rule that is invalid: a list is taken whole or not at all.
    pub fn parse<T: AsRef<str>>(rules: &[T]) -> Result<Self> {
        let list = AllowList::parse(rules)?;
        Ok(Self(list.rules().iter().map(|rule| rule.as_str().to_owned()).collect()))
    }

    /// The rules as they are stored.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}
