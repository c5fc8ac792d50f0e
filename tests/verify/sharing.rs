//! Callers that share round trips to Redis depend on each other no more than they must.

use std::time::Duration;

use futures_util::FutureExt;
use hmac_propagator::error::ErrorKind;
use hmac_propagator::state::{Key, RedisOptions, RedisState, StateStore};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::caller::Http;

const LIFE: Duration = Duration::from_secs(60);

fn single_threaded() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[tokio::test]
async fn a_runtime_that_nobody_drives_any_more_holds_up_no_other() {
    let http = Http::start().await;
    let state = http.state.clone();
    state.ping().await.unwrap();
    http.redis.pause().await.unwrap();
    let elsewhere = state.clone();
    let left_alone = tokio::task::spawn_blocking(move || {
        let runtime = single_threaded();
        // As many as there may be under way, and some more: each gives up before its answer.
        for number in 0..12 {
            let name = format!("elsewhere:{number}");
            let claim = elsewhere.read_and_claim(&[], name, LIFE);
            assert!(runtime.block_on(timeout(Duration::from_millis(20), claim)).is_err());
        }
        runtime
    });
    let left_alone = left_alone.await.unwrap();
    http.redis.resume().await.unwrap();
    let claim =
        timeout(Duration::from_secs(20), state.read_and_claim(&[], "here".into(), LIFE)).await;
    assert_eq!(claim.unwrap().unwrap(), (Vec::new(), true));
    left_alone.shutdown_background();
}

#[tokio::test]
async fn callers_of_a_silent_server_do_not_queue_for_longer_than_an_answer_may_take() {
    let http = Http::start().await;
    let mut options = RedisOptions::default();
    options.response_timeout = Duration::from_millis(300);
    let state = RedisState::open_with(&http.redis.url(), options).unwrap();
    state.ping().await.unwrap();
    http.redis.pause().await.unwrap();
    let names = (0..20_000).map(|number| format!("silent:{number}"));
    let claims = names.map(|name| state.read_and_claim(&[], name, LIFE));
    // In batches of 256, one after the other, it would be 23 seconds.
    let refused = timeout(Duration::from_secs(10), futures_util::future::join_all(claims)).await;
    http.redis.resume().await.unwrap();
    assert!(refused.unwrap().into_iter().all(|end| end.unwrap_err().is_transient()));
}

/// Starts a claim beside this task and lets it be sent, if it is to be sent now.
async fn start(state: &RedisState, name: String) -> JoinHandle<bool> {
    let (state, key) = (state.clone(), Key::field("records", "c"));
    let claim = tokio::spawn(async move {
        state.read_and_claim(&[key], name, LIFE).await.unwrap()
            == (vec![Some("r".to_owned())], true)
    });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    claim
}

/// Each batch reads a record once: this counts batches.
async fn batches(http: &Http) -> u32 {
    let info: String = http.redis.command(&["INFO", "commandstats"]).await.unwrap();
    let reads = info.lines().find_map(|line| line.strip_prefix("cmdstat_hmget:calls="));
    reads.unwrap().split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_few_callers_do_not_wait_for_each_other_and_many_gather() {
    let http = Http::start().await;
    let () = http.redis.command(&["HSET", "records", "c", "r"]).await.unwrap();
    http.state.ping().await.unwrap();
    let () = http.redis.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    http.redis.pause().await.unwrap();
    let mut claims = Vec::new();
    for number in 0..28 {
        claims.push(start(&http.state, format!("gathering:{number}")).await);
    }
    http.redis.resume().await.unwrap();
    for claim in claims {
        assert!(claim.await.unwrap());
    }
    // Eight that were sent at once, each alone, and the other twenty when the first answer was there.
    assert_eq!(batches(&http).await, 9);
}

#[tokio::test]
async fn a_record_is_read_once_for_all_who_come_together_and_each_gets_what_it_asked_for() {
    let http = Http::start().await;
    let state = &http.state;
    let clients = ["a", "b", "c"];
    for client in clients {
        let record = format!("record of {client}");
        let () = http.redis.command(&["HSET", "together", client, &record]).await.unwrap();
    }
    let () = http.redis.command(&["SET", "backup of b", "old"]).await.unwrap();
    let () = http.redis.command(&["CONFIG", "RESETSTAT"]).await.unwrap();
    let claim = async |number: usize| {
        let client = clients[number % 3];
        let keys = [Key::field("together", client), Key::value(format!("backup of {client}"))];
        // Every name is asked for twice.
        let name = format!("claimed:{}", number / 2);
        let (read, free) = state.read_and_claim(&keys, name, LIFE).await.unwrap();
        let backup = (client == "b").then(|| "old".to_owned());
        assert_eq!(read, [Some(format!("record of {client}")), backup]);
        free
    };
    let free = futures_util::future::join_all((0..600).map(claim)).await;
    assert_eq!(free.iter().filter(|free| **free).count(), 300);
    let reads = batches(&http).await;
    assert!(reads < 30, "{reads} reads of one hash for 600 callers");
}

#[tokio::test]
async fn a_caller_that_gives_up_before_it_is_sent_takes_its_claim_back() {
    let http = Http::start().await;
    http.state.ping().await.unwrap();
    // Nothing is sent before this task waits: until then the claim only stands in the queue.
    assert!(http.state.read_and_claim(&[], "given up".into(), LIFE).now_or_never().is_none());
    let claimed = http.state.read_and_claim(&[], "given up".into(), LIFE).await.unwrap();
    assert_eq!(claimed, (Vec::new(), true));
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let error = RedisState::open("redis://127.0.0.1:1/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOptions);
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
}
