//! A tower layer that lets only signed requests through: for axum, tonic and plain hyper.
//!
//! ```
//! use hmac_propagator::http::HmacLayer;
//! use hmac_propagator::id::Track;
//! use hmac_propagator::state::MemoryState;
//! use hmac_propagator::store::MemoryCredentialStore;
//! use hmac_propagator::verify::Verifier;
//!
//! let store = MemoryCredentialStore::new(MemoryState::new(), Track::Http, "hmac:http");
//! let layer = HmacLayer::new(Verifier::new(store)).body_limit(64 * 1024);
//! # let _ = layer;
//! ```
//!
//! What is let through carries a [`Verified`](crate::verify::Verified) in its extensions. What is not
//! gets the status of the contract and `{"error": CODE, "message": text}`; a gRPC client gets the gRPC
//! status that corresponds, with both as its message.
//!
//! # Bodies
//! A signature covers the whole body, so the body is read before the service sees the request, up to
//! [`HmacLayer::body_limit`]. Streaming from client to server therefore ends at this layer, and
//! trailers of a request are dropped, since nothing covers them. Responses pass as they are.
//!
//! # Paths
//! A signature covers the path that the client asked for. A router that strips a prefix before this
//! layer runs hides it: put the layer outside, or say where the whole path is to be found
//! ([`HmacLayer::target`]).

mod answer;
mod receive;
mod require;
mod service;
mod settings;

pub use answer::AnswerBody;
pub use require::{Require, RequireService};
pub use service::HmacService;
pub use settings::{HmacLayer, PeerAddress};
