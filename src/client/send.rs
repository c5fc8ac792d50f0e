//! Requests made ready.

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
        // An id of other than ASCII characters goes as its UTF-8 bytes.
        let mut value = HeaderValue::from_bytes(value.as_bytes()).map_err(SendError::Header)?;
        value.set_sensitive(name == X_SIGNATURE);
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(())
}
