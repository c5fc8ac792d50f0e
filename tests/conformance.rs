//! The conformance suites against every adapter of this crate.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use hmac_propagator::id::Track;
use hmac_propagator::state::{MemoryState, RedisState};
use hmac_propagator::store::{KeyedCredentialStore, MemoryCredentialStore, RedisCredentialStore};
use hmac_propagator::testing::{credential_store_conformance, state_store_conformance};
use hmac_propagator_support::{Redis, RedisOptions};

#[tokio::test]
async fn memory_state_conforms() {
    state_store_conformance(&MemoryState::new(), "conformance").await;
}

#[tokio::test]
async fn memory_credentials_conform() {
    let store = MemoryCredentialStore::new(MemoryState::new(), Track::Http, "hmac:http");
    credential_store_conformance(&store).await;
}

#[tokio::test]
async fn redis_state_conforms() {
    let redis = Redis::start().await.unwrap();
    state_store_conformance(&RedisState::open(&redis.url()).unwrap(), "conformance").await;
}

#[tokio::test]
async fn redis_credentials_conform() {
    let redis = Redis::start().await.unwrap();
    let state = RedisState::open(&redis.url()).unwrap();
    credential_store_conformance(&KeyedCredentialStore::new(state, Track::Message, "hmac:message"))
        .await;
}

#[tokio::test]
async fn redis_cluster_conforms_under_a_common_hash_tag() {
    let redis = Redis::start_with(RedisOptions { cluster: true, ..Default::default() });
    let redis = redis.await.unwrap();
    let state = RedisState::open(&redis.url()).unwrap();
    state_store_conformance(&state, "{hmac}:conformance").await;
    let store = RedisCredentialStore::new(state, Track::Http, "{hmac}:http");
    credential_store_conformance(&store.state_prefix("{hmac}:propagation")).await;
}
