//! What operators do.

mod audit;
mod call_target;
mod decide;
mod refused;
mod resend;
mod retry;
mod state;
mod sync;
mod targets;

pub(crate) use call_target::{Caller, signed_get};

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::app::App;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(decide::ensure))
        .routes(routes!(decide::rotate))
        .routes(routes!(decide::revoke))
        .routes(routes!(sync::sync))
        .routes(routes!(state::state))
        .routes(routes!(targets::put))
        .routes(routes!(targets::delete))
        .routes(routes!(call_target::call))
        .routes(routes!(retry::retry))
        .routes(routes!(resend::resend))
        .routes(routes!(audit::audit))
        .routes(routes!(audit::due))
        .routes(routes!(refused::refused))
}
