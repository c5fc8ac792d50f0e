//! The description of the API, made from the routes themselves.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::{Extension, Router};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "propagator",
        description = "A peer that propagates HMAC credentials: decisions, state, health.",
        license(name = "MIT", identifier = "MIT"),
    ),
    modifiers(&Bearer),
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Where routes are added to.
pub(crate) fn start() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi()).routes(routes!(openapi))
}

/// The document as it is sent.
#[derive(Clone)]
struct Rendered(Bytes);

/// Gives the document to its route.
pub(crate) fn serve(routes: Router<App>, document: &Document) -> Router<App> {
    // Only a map with keys that are no text could not be written.
    let text = document.to_json().unwrap_or_default();
    routes.layer(Extension(Rendered(text.into())))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "health", responses((status = 200, description = "OpenAPI 3.1")))]
async fn openapi(Extension(Rendered(document)): Extension<Rendered>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], document)
}
