//! Read, decide, commit: how every record is changed.

use super::{Committed, Key, StateStore, Transaction, Write};
use crate::error::StoreError;
use crate::mutation::{Mutation, is_on};

/// How often one item is decided anew when other writers come between. Each round at least one
/// writer succeeds, so this only ends when a store keeps reporting conflicts without cause.
const ROUNDS: u32 = 64;

/// What a decision comes to: its outcome, and the writes that make it so (none: nothing to do).
pub(crate) type Decided<O> = (O, Vec<Write>);

/// For each item: reads its keys, lets the pure `decide` see the values, and commits the writes on
/// condition that none of the values has changed. Items that another writer overtook are decided
/// anew. Takes two round trips for all items together when nothing interferes.
///
/// One result per item, in their order; items that share keys take effect in their order.
pub(crate) async fn transact<I, O>(
    state: &dyn StateStore,
    items: &[I],
    keys: impl Fn(&I) -> Vec<Key> + Send + Sync,
    decide: impl Fn(&I, &[Option<String>]) -> Decided<O> + Send + Sync,
) -> Vec<Result<O, StoreError>>
where
    I: Sync,
    O: Send,
{
    let mut results: Vec<Option<Result<O, StoreError>>> = items.iter().map(|_| None).collect();
    let mut open: Vec<usize> = (0..items.len()).collect();
    for _ in 0..ROUNDS {
        if open.is_empty() {
            break;
        }
        match round(state, items, &open, &keys, &decide, &mut results).await {
            Ok(overtaken) => open = overtaken,
            Err(error) => {
                // What this round did not settle may or may not have happened.
                for slot in results.iter_mut().filter(|slot| slot.is_none()) {
                    *slot = Some(Err(error.clone()));
                }
                break;
            }
        }
    }
    let exhausted = || Err(StoreError::transient("other writers kept coming between"));
    results.into_iter().map(|slot| slot.unwrap_or_else(exhausted)).collect()
}

async fn round<I, O>(
    state: &dyn StateStore,
    items: &[I],
    open: &[usize],
    keys: &(impl Fn(&I) -> Vec<Key> + Send + Sync),
    decide: &(impl Fn(&I, &[Option<String>]) -> Decided<O> + Send + Sync),
    results: &mut [Option<Result<O, StoreError>>],
) -> Result<Vec<usize>, StoreError>
where
    I: Sync,
    O: Send,
{
    let keys: Vec<Vec<Key>> = open.iter().map(|&index| keys(&items[index])).collect();
    let mut values = state.get(&keys.concat()).await?.into_iter();
    let (mut transactions, mut tried) = (Vec::new(), Vec::new());
    for (&index, keys) in open.iter().zip(keys) {
        let read: Vec<_> = values.by_ref().take(keys.len()).collect();
        let (outcome, writes) = decide(&items[index], &read);
        if writes.is_empty() {
            results[index] = Some(Ok(outcome));
            continue;
        }
        let conditional = !is_on(Mutation::CommitUnconditional);
        let checks = keys.into_iter().zip(read).filter(|_| conditional);
        let unchanged = checks.fold(Transaction::default(), |t, (key, value)| t.check(key, value));
        transactions.push(Transaction { writes, ..unchanged });
        tried.push((index, outcome));
    }
    let mut overtaken = Vec::new();
    for ((index, outcome), committed) in tried.into_iter().zip(state.commit(&transactions).await?) {
        match committed {
            Committed::Done => results[index] = Some(Ok(outcome)),
            Committed::Conflict => overtaken.push(index),
            Committed::Refused(why) => results[index] = Some(Err(StoreError::permanent(why))),
        }
    }
    Ok(overtaken)
}
