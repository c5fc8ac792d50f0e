//! Queries of URLs and parts of paths, with errors that name the field.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::body::expectation;
use super::problem::Problem;

/// The query of a request.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = Query::try_from_uri(&parts.uri);
        let Query(params) = read.map_err(|rejection| {
            // "Failed to deserialize query string: limit: invalid digit found in string", or
            // without a field where the query as a whole is meant.
            let text = rejection.body_text();
            let text = text.split_once(": ").map_or(text.as_str(), |(_, rest)| rest);
            let (field, what) = text.split_once(": ").unwrap_or(("the query", text));
            Problem::bad_field(expectation(field, what))
        })?;
        Ok(Self(params))
    }
}

/// The one variable part of a path, as text.
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) =
            read.map_err(|_| Problem::bad_field("the path: expected UTF-8 behind the escapes"))?;
        Ok(Self(name))
    }
}
