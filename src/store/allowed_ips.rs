//! An allow-list that is known to be valid.

/// Address rules (single addresses or CIDR), checked and in the form in which they are stored. An
/// empty list allows every address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedIps(Vec<String>);

impl AllowedIps {
    /// Checks a list.
    ///
    /// # Errors
    /// `InvalidOptions` when any rule is invalid: a list is taken whole or not at all.
    pub fn parse<T: AsRef<str>>(rules: &[T]) -> crate::error::Result<Self> {
        rules
            .iter()
            .map(|r| {
                let t = r.as_ref();
                let (a, b) = t.split_once('/').unwrap_or((t, "0"));
                a.parse::<std::net::IpAddr>()
                    .ok()
                    .zip(b.parse::<u8>().ok().filter(|b| *b <= 32))
                    .map(|_| t.to_owned())
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
            .ok_or_else(|| crate::error::Error::invalid("rule", "CIDR"))
    }

    /// The rules as they are stored.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}
