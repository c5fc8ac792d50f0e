//! Requests made ready.

use std::borrow::Cow;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Body, Request, Url};

use super::SendError;
use crate::auth::{SignedHeaders, X_SIGNATURE};
use crate::id::ClientId;

/// Path and query, without the fragment.
pub(super) fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// The same request with its body in memory.
pub(super) async fn with_whole_body(
    mut request: Request,
    limit: usize,
) -> Result<Request, SendError> {
    if let Some(body) = request.body_mut().take() {
        let whole = match body.as_bytes() {
            Some(_) => body,
            None => Body::from(read(body, limit).await?),
        };
        *request.body_mut() = Some(whole);
    }
    Ok(request)
}

async fn read(body: Body, limit: usize) -> Result<bytes::Bytes, SendError> {
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(SendError::BodyTooLarge { limit }),
        Err(error) => Err(SendError::Body(error)),
    }
}

/// A copy for a second sending. A body in memory can always be had twice.
pub(super) fn copy(request: &Request) -> Option<Request> {
    request.try_clone()
}

pub(super) fn set_headers(
    request: &mut Request,
    client_id: &ClientId,
    signed: &SignedHeaders,
) -> Result<(), SendError> {
    let headers = request.headers_mut();
    for (name, value) in signed.with_client(client_id.as_str()) {
        let mut value = HeaderValue::from_bytes(&encoded(&value)).map_err(SendError::Header)?;
        value.set_sensitive(name == X_SIGNATURE);
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}

/// As Node sends it: one byte for each character. What has characters beyond U+00FF, which Node cannot
/// send at all, goes as UTF-8; so does the rare text whose bytes a verifier would take for UTF-8.
fn encoded(value: &str) -> Cow<'_, [u8]> {
    let bytes: Option<Vec<u8>> = value.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    match bytes {
        Some(bytes) if std::str::from_utf8(&bytes).is_err() => Cow::Owned(bytes),
        _ => Cow::Borrowed(value.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_goes_as_node_sends_it_wherever_that_is_unmistakable() {
        for (text, bytes) in [
            ("caf\u{e9}", &b"caf\xe9"[..]),
            ("plain", b"plain"),
            ("\u{416}", "\u{416}".as_bytes()),
            ("\u{c3}\u{a9}", "\u{c3}\u{a9}".as_bytes()),
        ] {
            assert_eq!(&*encoded(text), bytes, "{text}");
        }
    }
}
