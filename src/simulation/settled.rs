//! What must be true of a message when it goes out, and when it is let go of.

use std::sync::Arc;

use super::broker::Seen;
use super::database::is_open;
use super::disk::Disk;
use super::link::Settling;
use super::model::Sent;
use super::world::World;
use crate::cursor::Cursor;
use crate::id::{CredentialKey, EventId, PeerQueue};
use crate::management::RowStatus;

/// Remembers what an event stands for, before the broker has it.
pub(super) fn published(world: &World, by: &str, to: &PeerQueue, seen: &Seen) {
    let (Some(track), Some(client_id)) = (seen.track, seen.client_id.clone()) else { return };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let sent = Sent {
        source: seen.sender_amqp_queue.clone(),
        target: to.clone(),
        key: CredentialKey::new(track, client_id),
        revision: seen.ts.as_f64() as u64,
    };
    // A replica that read its row just before the answer was recorded may send it again.
    let needless = {
        let model = world.model();
        model.event(&seen.event_id).is_some() && !model.was_answered(&seen.event_id)
    };
    if world.is_quiet() && needless {
        world.violate(format_args!("{by} publishes {} once more", seen.event_id));
    }
    if let Err(why) = world.model().sent(seen.event_id.clone(), sent) {
        world.violate(format_args!("{by} publishes to {to}: {why}"));
    }
}

/// Remembers which events are answered, once the broker has the answer.
pub(super) fn routed(world: &World, seen: &Seen) {
    if let Some(answered) = &seen.ack_event_id {
        let declined = seen.ack_result.as_deref() == Some("error");
        world.model().answered(answered, declined);
    }
}

/// A delivery was settled: nothing of it may be lost now.
pub(super) fn check(world: &Arc<World>, settling: &Settling, seen: &Seen) {
    let lost = match &seen.ack_event_id {
        Some(answered) => answer_is_lost(world, settling, answered, seen.signed),
        None => event_is_lost(world, &settling.disk, seen),
    };
    if let Some(why) = lost {
        world.violate(format_args!(
            "{} let go of {} of {}: {why}",
            settling.disk.owner, seen.event_id, seen.sender_amqp_queue
        ));
    }
}

/// An event is in effect, or was declined; and its source was told, if it can be told.
fn event_is_lost(world: &World, disk: &Disk, seen: &Seen) -> Option<&'static str> {
    let key = CredentialKey::new(seen.track?, seen.client_id.clone()?);
    let (answered, declined, given_up) = {
        let model = world.model();
        (
            model.was_answered(&seen.event_id),
            model.was_declined(&seen.event_id),
            model.has_given_up_on(&disk.owner, &seen.sender_amqp_queue),
        )
    };
    if !answered && !given_up {
        return Some("it was not answered");
    }
    let version = Cursor { ts: seen.ts, event_id: seen.event_id.clone(), source: None };
    let in_effect = disk.cursor(&key).is_some_and(|cursor| cursor >= version);
    // A process remembers versions that its store has lost, and takes nothing older.
    let excused = declined || given_up || disk.losses() > 0;
    (!in_effect && !excused).then_some("it did not take effect")
}

/// An answer is recorded in the row or in the books, or nothing follows from it any more.
fn answer_is_lost(
    world: &World,
    settling: &Settling,
    answered: &EventId,
    signed: bool,
) -> Option<&'static str> {
    let sent = world.model().event(answered).cloned()?;
    let Settling { disk, tables } = settling;
    let tables = tables.as_ref()?;
    // What cannot be believed is let go of, and what is not known any more.
    let believed = signed || tables.receive_only.contains(&sent.target);
    if !believed || disk.losses() > 0 || tables.owner != sent.source {
        return None;
    }
    let row = tables.memory.rows(&sent.key).into_iter().find(|row| row.target == sent.target)?;
    // A row that is pending is published again, whatever was answered, and answered again.
    let asked_again = row.status == RowStatus::Pending;
    // Of a target that has named several stores, an answer may be one of a store that is gone.
    let (track, target) = (sent.key.track, &sent.target);
    // And what was recorded and then opened again is not lost.
    if disk.knows_other_stores(target, track) || tables.has_reopened(track, target) {
        return None;
    }
    let recorded = row.revision.get() != sent.revision || !is_open(&row) || asked_again;
    let kept = disk
        .flight(&sent.key, &sent.target)
        .is_some_and(|flight| flight.event_id == *answered && flight.answer.is_some());
    (!recorded && !kept).then_some("its answer is nowhere")
}
