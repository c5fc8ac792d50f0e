//! Headers and bodies as they come in.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::answer::Answer;
use crate::auth::{X_CLIENT_ID, X_NONCE, X_SIGNATURE, X_TIMESTAMP};
use crate::verify::Presented;

pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The four headers, as text.
pub(super) struct SignatureHeaders<'a> {
    client_id: Option<Cow<'a, str>>,
    signature: Option<Cow<'a, str>>,
    timestamp: Option<Cow<'a, str>>,
    nonce: Option<Cow<'a, str>>,
}

impl<'a> SignatureHeaders<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        Self {
            client_id: text(headers, X_CLIENT_ID),
            signature: text(headers, X_SIGNATURE),
            timestamp: text(headers, X_TIMESTAMP),
            nonce: text(headers, X_NONCE),
        }
    }

    pub(super) fn presented(&self) -> Presented<'_> {
        Presented {
            client_id: self.client_id.as_deref(),
            signature: self.signature.as_deref(),
            timestamp: self.timestamp.as_deref(),
            nonce: self.nonce.as_deref(),
        }
    }
}

/// A header that was sent more than once is joined, as Node does it: then it fits no client and no
/// signature, instead of meaning one thing here and another thing in a proxy before.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().map(|value| decoded(value.as_bytes()));
    let first = values.next()?;
    Some(values.fold(first, |joined, value| Cow::Owned(format!("{joined}, {value}"))))
}

/// Our signers send UTF-8. Node sends, and reads, one byte for each character up to U+00FF.
fn decoded(value: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(value)
        .map_or_else(|_| value.iter().copied().map(char::from).collect(), Cow::Borrowed)
}

/// The whole body, in bounded memory and time.
pub(super) async fn whole<B>(body: B, limit: usize, timeout: Duration) -> Result<Bytes, Answer>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Answer::TOO_LARGE);
    }
    match tokio::time::timeout(timeout, Limited::new(body, limit).collect()).await {
        Err(_) => Err(Answer::TOO_SLOW),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Answer::TOO_LARGE),
        Ok(Err(_)) => Err(Answer::UNREADABLE),
    }
}
