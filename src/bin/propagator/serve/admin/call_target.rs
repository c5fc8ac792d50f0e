//! Signed test calls to other services.

use std::error::Error as _;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use hmac_propagator::auth::hash_client_secret;
use hmac_propagator::client::{SendError, SigningClient};
use hmac_propagator::error::ErrorKind;
use hmac_propagator::id::ClientId;
use hmac_propagator::secret::ClientSecret;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::serve::app::App;
use crate::serve::body::Body;
use crate::serve::fields::PlainSecret;
use crate::serve::problem::{Problem, ProblemBody};

/// How long a call may take, from the look-up of the name to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const ANSWER: usize = 256 * 1024;

/// Makes the calls. It follows no redirect (a signature fits one path, and the origin was allowed,
/// not where it points to) and takes no proxy from the environment.
pub(crate) struct Caller {
    http: Client,
    origins: Vec<String>,
}

impl Caller {
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn new(origins: &[String]) -> Result<Self, Fault> {
        let http = Client::builder().redirect(Policy::none()).no_proxy().timeout(PATIENCE).build();
        let http = http.map_err(|error| Fault::because("cannot make an HTTP client", error))?;
        Ok(Self { http, origins: origins.to_vec() })
    }
}

/// A call to make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CallRequest {
    /// A URL of an allowed origin. An origin alone means its `/api/echo`.
    #[schema(example = "http://127.0.0.1:8081/api/echo")]
    target: String,
    /// Who signs.
    #[schema(value_type = String)]
    client_id: ClientId,
    /// What it signs with. Left out or null: what this peer's store holds.
    #[schema(value_type = Option<String>)]
    secret: Option<PlainSecret>,
}

/// What the target answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct Called {
    /// Its status.
    status: u16,
    /// Its body: JSON as it is, anything else as a text.
    #[schema(value_type = Object)]
    body: Value,
}

/// Makes a signed GET.
#[utoipa::path(
    post, path = "/admin/call-target", tag = "admin", request_body = CallRequest,
    security(("bearer" = [])),
    responses(
        (status = 201, body = Called),
        (status = 400, description = "A field cannot be read", body = ProblemBody),
        (status = 401, body = ProblemBody, description = "No token"),
        (status = 403, description = "Not an allowed origin", body = ProblemBody),
        (status = 404, description = "No secret was given and the store has none", body = ProblemBody),
        (status = 413, description = "The body is too long", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 422, description = "It cannot be signed", body = ProblemBody),
        (status = 503, description = "The target does not answer, or answers too much", body = ProblemBody),
    )
)]
pub(super) async fn call(
    State(app): State<App>,
    Body(request): Body<CallRequest>,
) -> Result<(StatusCode, Json<Called>), Problem> {
    let secret = request.secret.map(|PlainSecret(secret)| secret);
    let (status, body) = signed_get(&app, &request.target, request.client_id, secret).await?;
    Ok((StatusCode::CREATED, Json(Called { status, body })))
}

/// Makes a signed GET; without a secret with what this peer's store holds. The status and the body
/// that were answered.
pub(crate) async fn signed_get(
    app: &App,
    target: &str,
    client_id: ClientId,
    secret: Option<ClientSecret>,
) -> Result<(u16, Value), Problem> {
    let caller = &app.caller;
    let url = allowed(&caller.origins, target)?;
    let http = caller.http.clone();
    let client = match secret {
        Some(secret) => {
            let hash = hash_client_secret(&secret, &app.parts.config.secret_token);
            SigningClient::fixed(http, client_id, &hash)
        }
        None => SigningClient::from_store(http, client_id, app.parts.http.clone()),
    };
    let get = caller.http.get(url).build().map_err(|_| wrong_target())?;
    let response = client.execute(get).await.map_err(refused)?;
    let status = response.status().as_u16();
    Ok((status, read(response).await?))
}

fn allowed(origins: &[String], target: &str) -> Result<Url, Problem> {
    let mut url = Url::parse(target).map_err(|_| wrong_target())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong_target());
    }
    let origin = url.origin().ascii_serialization();
    // A user name in front of the host would be sent along, and misleads who reads it.
    let plain = url.username().is_empty() && url.password().is_none();
    if !plain || !origins.contains(&origin) {
        return Err(Problem::forbidden("target: expected an origin of CALL_TARGET_ORIGINS"));
    }
    if url.path() == "/" && url.query().is_none() {
        url.set_path("/api/echo");
    }
    Ok(url)
}

fn wrong_target() -> Problem {
    Problem::bad_field("target: expected a URL, as http://127.0.0.1:8081/api/echo")
}

fn refused(error: SendError) -> Problem {
    match error {
        SendError::Credential(error) if error.kind() == ErrorKind::UnknownClient => {
            Problem::not_found(
                "UNKNOWN_CLIENT",
                "this peer's store has no credential of the client",
            )
        }
        SendError::Credential(error) => error.into(),
        SendError::Http(error) => unreachable(&error),
        other => Problem::impossible(format!("target, clientId: {other}")),
    }
}

/// Without the URL and its query: who asked knows them.
fn unreachable(error: &reqwest::Error) -> Problem {
    let what = if error.is_timeout() { "it did not answer in time" } else { "it does not answer" };
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push_str(&format!(": {error}"));
        cause = error.source();
    }
    tracing::debug!("a test call failed{causes}");
    Problem::unavailable("TARGET_UNREACHABLE", format!("target: {what}"))
}

async fn read(mut response: Response) -> Result<Value, Problem> {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if bytes.len() + part.len() > ANSWER {
            let message = format!("target: it answered more than {ANSWER} bytes");
            return Err(Problem::unavailable("TARGET_ANSWER_TOO_LONG", message));
        }
        bytes.extend_from_slice(&part);
    }
    let json = is_json.then(|| serde_json::from_slice(&bytes).ok()).flatten();
    Ok(json.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_origins_are_called() {
        let origins = ["http://a.example:81".to_owned(), "https://b.example".to_owned()];
        let allows = |target: &str| allowed(&origins, target).ok().map(|url| url.to_string());
        assert_eq!(allows("http://a.example:81").unwrap(), "http://a.example:81/api/echo");
        assert_eq!(allows("https://B.example:443/x?y").unwrap(), "https://b.example/x?y");
        for refused in [
            "http://a.example",
            "https://a.example:81/",
            "http://a.example:82/",
            "http://a.example:81@evil.example/",
            "http://user@a.example:81/",
            "http://evil.example/http://a.example:81",
            "https://b.example.evil/",
            "file:///etc/passwd",
            "//a.example:81/",
            "",
            "a.example:81",
        ] {
            assert_eq!(allows(refused), None, "{refused}");
        }
    }
}
