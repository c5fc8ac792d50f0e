//! A route for signed test calls.

use axum::{Extension, Json};
use hmac_propagator::http::HmacLayer;
use hmac_propagator::verify::Verified;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;
use super::body::{BODY_LIMIT, BODY_TIMEOUT};
use super::problem::ProblemBody;

pub(crate) fn routes(app: &App) -> OpenApiRouter<App> {
    let signed = HmacLayer::new(app.verifier.clone())
        .body_limit(BODY_LIMIT)
        .body_timeout(BODY_TIMEOUT)
        .trusted_proxies(app.parts.config.http.trusted_proxies.clone());
    OpenApiRouter::new().routes(routes!(echo)).route_layer(signed)
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Echo {
    ok: bool,
    /// Who signed.
    client_id: String,
}

/// Answers who signed the request. It takes the headers `x-client-id`, `x-timestamp`, `x-nonce` and
/// `x-signature`.
#[utoipa::path(
    get, path = "/api/echo", tag = "signed",
    responses(
        (status = 200, body = Echo),
        (status = 401, description = "Not signed, or not rightly", body = ProblemBody),
        (status = 403, description = "Not from this address", body = ProblemBody),
    )
)]
async fn echo(Extension(caller): Extension<Verified>) -> Json<Echo> {
    Json(Echo { ok: true, client_id: caller.client_id.as_str().to_owned() })
}
