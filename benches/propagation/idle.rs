//! What a peer that has nothing to do keeps resident: measured on a process of its own.

use std::process::{Command, Stdio};
use std::time::Duration;

use hmac_propagator_support::{Broker, Redis, eventually};

use crate::peers;

/// The child: a receive-only peer, ready and idle. Says so on standard output.
pub async fn run(arguments: &[String]) {
    let [amqp_url, redis_url] = arguments else { panic!("idle-peer AMQP_URL REDIS_URL") };
    let peer = peers::builder(amqp_url, "idle", redis_url).start().await.unwrap();
    peer.ready().await.unwrap();
    std::future::pending::<()>().await;
}

/// Resident memory of an idle peer, in KiB, once it has consumed for a while.
pub async fn resident_kib(broker: &Broker, settle: Duration) -> u64 {
    let vhost = broker.vhost().await.unwrap();
    let redis = Redis::start().await.unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["idle-peer", &vhost.url(), &redis.url()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let queues = vhost.queues().await.unwrap();
    eventually(Duration::from_secs(20), || async {
        (queues.consumers("hmac-idle.queue").await.ok().flatten() == Some(1)).then_some(())
    })
    .await;
    tokio::time::sleep(settle).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
