//! Headers and bodies as they come in.

use std::borrow::Cow;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError};

use super::answer::Answer;
use crate::auth::{X_CLIENT_ID, X_NONCE, X_SIGNATURE, X_TIMESTAMP};
use crate::verify::Presented;

/// Names that are ready to be looked for.
static CLIENT_ID: HeaderName = HeaderName::from_static(X_CLIENT_ID);
static SIGNATURE: HeaderName = HeaderName::from_static(X_SIGNATURE);
static TIMESTAMP: HeaderName = HeaderName::from_static(X_TIMESTAMP);
static NONCE: HeaderName = HeaderName::from_static(X_NONCE);
pub(super) static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

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
            client_id: text(headers, &CLIENT_ID),
            signature: text(headers, &SIGNATURE),
            timestamp: text(headers, &TIMESTAMP),
            nonce: text(headers, &NONCE),
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
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
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
    let mut whole = pin!(joined(body, limit));
    // Most bodies have arrived with their head: they need no timer.
    let arrived = poll_fn(|context| Poll::Ready(whole.as_mut().poll(context))).await;
    match arrived {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => {
            tokio::time::timeout(timeout, whole).await.map_err(|_| Answer::TOO_SLOW)?
        }
    }
}

/// The data of a body in one piece. What comes in one frame is taken as it is, where the body's kind of
/// data allows that. Trailers are not part of what is signed.
async fn joined<B>(body: B, limit: usize) -> Result<Bytes, Answer>
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let (mut first, mut all, mut length) = (Bytes::new(), BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(mut data) = frame.map_err(unreadable)?.into_data() else {
            continue;
        };
        let more = data.remaining();
        if more > limit - length {
            return Err(Answer::TOO_LARGE);
        }
        if length == 0 {
            first = data.copy_to_bytes(more);
        } else if more > 0 {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.put(data);
        }
        length += more;
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// A limit that somebody set before the layer is a limit too.
fn unreadable(error: impl Into<BoxError>) -> Answer {
    let error = error.into();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return Answer::TOO_LARGE;
        }
        cause = error.source();
    }
    Answer::UNREADABLE
}
