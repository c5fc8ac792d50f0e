//! Faults at moments of their own, until somebody stops them.

use std::sync::Arc;
use std::time::Duration;

use super::broker::QueueTrouble;
use super::mesh::{Mesh, skew};
use super::plan::Fault;
use super::site::{Process, Site};

/// Injects faults, for ever.
pub(super) async fn run(mesh: Arc<Mesh>) {
    let Mesh { world, shape, .. } = &*mesh;
    if shape.faults.is_empty() {
        return;
    }
    loop {
        let ms = world.random().between(1, shape.fault_spacing_ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        let fault = *world.random().pick(&shape.faults);
        let site = world.random().pick(&mesh.sites).clone();
        inject(&mesh, fault, &site);
    }
}

fn inject(mesh: &Arc<Mesh>, fault: Fault, site: &Arc<Site>) {
    let Mesh { world, shape, .. } = &**mesh;
    world.note(format_args!("fault {fault:?} at {}", site.name));
    let time = |most_ms: u64| Duration::from_millis(world.random().between(1, most_ms));
    match fault {
        Fault::BrokerRestart => {
            let away = time(6_000);
            each(mesh, |process| {
                process.link.drop_publisher(away);
                process.link.drop_consumer(away);
            });
        }
        Fault::Alarm => {
            let away = time(15_000);
            each(mesh, |process| process.link.block_publisher(away));
        }
        Fault::QueueDeleted => world.broker.delete(&site.queue),
        Fault::QueueRefuses => trouble(mesh, site, QueueTrouble::Refuses, time(20_000)),
        Fault::QueueStalls => trouble(mesh, site, QueueTrouble::Stalls, time(20_000)),
        Fault::QueueForeign => trouble(mesh, site, QueueTrouble::Foreign, time(20_000)),
        Fault::StateDown => site.disk.down_for(time(15_000)),
        Fault::StateReadOnly => site.disk.read_only_for(time(15_000)),
        Fault::StateRefuses => site.disk.refuse_for(time(3_000)),
        Fault::StateLosesASecond => site.disk.lose_the_last_second(),
        Fault::StateWiped => site.disk.wipe(),
        Fault::ManagementDown => {
            if let Some(tables) = &site.tables {
                tables.down_for(time(20_000));
            }
        }
        Fault::ClockSteps => site.clock.set(skew(world, shape.clock_ms)),
        Fault::Crash | Fault::CrashSoon | Fault::Pause | Fault::Restart | Fault::Connection => {
            if let Some(process) = site.process() {
                harm(mesh, fault, site, process);
            }
        }
    }
}

/// What befalls one process.
fn harm(mesh: &Arc<Mesh>, fault: Fault, site: &Arc<Site>, process: Process) {
    let world = &mesh.world;
    match fault {
        Fault::CrashSoon => process.fence.crash_after(world.random().between(1, 40)),
        Fault::Pause => {
            let ms = world.random().between(1, 60_000);
            process.fence.pause_until(mesh.now() + Duration::from_millis(ms));
        }
        Fault::Restart => {
            let site = site.clone();
            tokio::spawn(async move {
                if let Some(propagator) = &process.propagator {
                    propagator.close().await;
                }
                site.world.note(format_args!("{} has closed", process.fence.name));
                process.fence.kill();
            });
        }
        Fault::Connection => {
            let ms = world.random().between(1, 5_000);
            let (publisher, consumer) = (world.chance(700), world.chance(700));
            if publisher {
                process.link.drop_publisher(Duration::from_millis(ms));
            }
            if consumer {
                process.link.drop_consumer(Duration::from_millis(ms));
            }
        }
        _ => process.fence.kill(),
    }
}

fn each(mesh: &Mesh, harm: impl Fn(Process)) {
    mesh.sites.iter().filter_map(|site| site.process()).for_each(harm);
}

fn trouble(mesh: &Mesh, site: &Site, trouble: QueueTrouble, time: Duration) {
    mesh.world.broker.trouble(&site.queue, trouble, mesh.now() + time);
}
