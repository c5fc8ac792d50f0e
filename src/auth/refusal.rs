//! The frozen codes of refusals.

use std::fmt;

/// Why a caller, or a call that manages credentials, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// No header `x-client-id`, or a blank one.
    MissingClientId,
    /// No header `x-signature`.
    MissingSignature,
    /// No header `x-timestamp`.
    MissingTimestamp,
    /// No header `x-nonce`.
    MissingNonce,
    /// The timestamp is not decimal milliseconds.
    InvalidTimestamp,
    /// The timestamp is further from now than the verifier allows.
    TimestampSkew,
    /// No credential of that client.
    UnknownClient,
    /// The credential has expired.
    ClientExpired,
    /// The credential is bound to addresses and the caller's address is not known.
    MissingClientIp,
    /// The caller's address is outside the allow-list.
    ClientIpNotAllowed,
    /// The signature is not the expected one.
    BadSignature,
    /// The nonce was used before.
    ReplayedNonce,
    /// The store failed, so nothing can be said: refused.
    InternalError,
    /// Management of a credential that does not exist.
    ClientNotFound,
}

impl RefusalCode {
    /// Every code, in the order of the checks.
    pub const ALL: [Self; 14] = [
        Self::MissingClientId,
        Self::MissingSignature,
        Self::MissingTimestamp,
        Self::MissingNonce,
        Self::InvalidTimestamp,
        Self::TimestampSkew,
        Self::UnknownClient,
        Self::ClientExpired,
        Self::MissingClientIp,
        Self::ClientIpNotAllowed,
        Self::BadSignature,
        Self::ReplayedNonce,
        Self::InternalError,
        Self::ClientNotFound,
    ];

    /// The code of the contract, for example `BAD_SIGNATURE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().1
    }

    /// A sentence for the human who reads the refusal. It says nothing that the code does not.
    #[must_use]
    pub fn message(self) -> &'static str {
        self.row().2
    }

    #[rustfmt::skip]
    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::MissingClientId => ("MISSING_CLIENT_ID", 401, "the header x-client-id is missing"),
            Self::MissingSignature => ("MISSING_SIGNATURE", 401, "the header x-signature is missing"),
            Self::MissingTimestamp => ("MISSING_TIMESTAMP", 401, "the header x-timestamp is missing"),
            Self::MissingNonce => ("MISSING_NONCE", 401, "the header x-nonce is missing"),
            Self::InvalidTimestamp => ("INVALID_TIMESTAMP", 401, "x-timestamp is not decimal milliseconds"),
            Self::TimestampSkew => ("TIMESTAMP_SKEW", 401, "x-timestamp is too far from the verifier's clock"),
            Self::UnknownClient => ("UNKNOWN_CLIENT", 401, "the client is not known"),
            Self::ClientExpired => ("CLIENT_EXPIRED", 401, "the credential has expired"),
            Self::MissingClientIp => ("MISSING_CLIENT_IP", 403, "the client's address is not known"),
            Self::ClientIpNotAllowed => ("CLIENT_IP_NOT_ALLOWED", 403, "the client's address is not allowed"),
            Self::BadSignature => ("BAD_SIGNATURE", 401, "the signature does not match"),
            Self::ReplayedNonce => ("REPLAYED_NONCE", 401, "the nonce was used before"),
            Self::InternalError => ("INTERNAL_ERROR", 500, "the credential could not be checked"),
            Self::ClientNotFound => ("CLIENT_NOT_FOUND", 404, "there is no such credential"),
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses_are_those_of_the_contract() {
        let table = "MISSING_CLIENT_ID 401, MISSING_SIGNATURE 401, MISSING_TIMESTAMP 401, \
             MISSING_NONCE 401, INVALID_TIMESTAMP 401, TIMESTAMP_SKEW 401, UNKNOWN_CLIENT 401, \
             CLIENT_EXPIRED 401, MISSING_CLIENT_IP 403, CLIENT_IP_NOT_ALLOWED 403, \
             BAD_SIGNATURE 401, REPLAYED_NONCE 401, INTERNAL_ERROR 500, CLIENT_NOT_FOUND 404";
        let ours = RefusalCode::ALL.map(|code| format!("{code} {}", code.status()));
        assert_eq!(ours.join(", "), table);
    }
}
